//! Why a process is gone, as its calls say it.

use tandem_actor_protocol::failure::{Failure, FailureKind};

use super::Fate;
use crate::event::ExitCause;

/// What a call that a process ran ends with when the process is gone.
pub(crate) fn failure_of(fate: Option<&Fate>, cause: &ExitCause) -> Failure {
    let (kind, message) = match (fate, cause) {
        (_, ExitCause::MemoryLimit { limit_bytes, peak_bytes }) => (
            FailureKind::MemoryLimit,
            format!(
                "its process took {} MiB of memory and may take {}; ask for more with `memory_bytes`, or give workers more",
                peak_bytes >> 20,
                limit_bytes >> 20
            ),
        ),
        (Some(Fate::TimedOut), _) => {
            (FailureKind::TimedOut, "it took longer than it may, and its process was ended".into())
        }
        (Some(Fate::Cancelled), _) => (FailureKind::Cancelled, "it was cancelled, and its process was ended".into()),
        (Some(Fate::HeldUp(why) | Fate::GivenUp(why)), _) => {
            (FailureKind::ProcessLost, format!("its process was ended: {why}"))
        }
        (Some(Fate::Broken(why)), _) | (_, ExitCause::Protocol(why)) => {
            (FailureKind::ProcessLost, format!("its process broke the protocol: {why}"))
        }
        (_, ExitCause::Exited(code)) => (FailureKind::ProcessLost, format!("its process ended with exit code {code}")),
        (_, ExitCause::Signalled(signal)) => (FailureKind::ProcessLost, format!("signal {signal} ended its process")),
        (_, ExitCause::Silent) => (FailureKind::ProcessLost, "its process never said that it had started".into()),
        (_, ExitCause::ClientGone(why)) => (FailureKind::ProcessLost, format!("its client is gone: {why}")),
        (_, ExitCause::Asked) => (FailureKind::ProcessLost, "its process was ended".into()),
    };
    Failure::new(kind, "", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_counts_before_what_was_asked() {
        let memory = ExitCause::MemoryLimit { limit_bytes: 10, peak_bytes: 11 };
        let cases = [
            (Some(Fate::Cancelled), memory.clone(), FailureKind::MemoryLimit),
            (Some(Fate::TimedOut), ExitCause::Asked, FailureKind::TimedOut),
            (Some(Fate::Cancelled), ExitCause::Signalled(9), FailureKind::Cancelled),
            (None, ExitCause::Signalled(11), FailureKind::ProcessLost),
            (None, memory, FailureKind::MemoryLimit),
            (Some(Fate::Broken("x".into())), ExitCause::Asked, FailureKind::ProcessLost),
        ];
        for (fate, cause, kind) in cases {
            assert_eq!(failure_of(fate.as_ref(), &cause).kind, kind, "{fate:?} and {cause:?}");
        }
    }
}
