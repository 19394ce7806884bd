//! Callers of a listener that are in the middle of their handshake. A slow one holds up nobody else.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::debug;

/// Callers that may be in the middle of their handshake; further ones are turned away.
const MAX_HANDSHAKES: usize = 256;
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module's header. `T` is what a handshake makes of a connection.
#[derive(Debug)]
pub(super) struct Handshakes<T>(JoinSet<Option<T>>);

impl<T> Default for Handshakes<T> {
    fn default() -> Self {
        Self(JoinSet::new())
    }
}

impl<T: Send + 'static> Handshakes<T> {
    /// Lets `caller` begin.
    pub(super) fn begin(
        &mut self,
        caller: SocketAddr,
        handshake: impl Future<Output = io::Result<T>> + Send + 'static,
    ) {
        if self.0.len() >= MAX_HANDSHAKES {
            debug!(%caller, "too many handshakes at once, caller turned away");
            return;
        }
        self.0.spawn(async move {
            match tokio::time::timeout(TIMEOUT, handshake).await {
                Ok(Ok(done)) => return Some(done),
                Ok(Err(error)) => debug!(%caller, %error, "handshake failed"),
                Err(_) => debug!(%caller, "handshake took too long"),
            }
            None
        });
    }

    /// Waits for the next one that is done, for ever if there is none. Nothing is lost when this is dropped.
    pub(super) async fn done(&mut self) -> T {
        loop {
            match self.0.join_next().await {
                Some(Ok(Some(done))) => return done,
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_handshake_does_not_hold_up_one_that_is_done() {
        let caller: SocketAddr = ([127, 0, 0, 1], 1).into();
        let mut handshakes = Handshakes::default();
        handshakes.begin(caller, std::future::pending());
        handshakes.begin(caller, async { Err(io::ErrorKind::InvalidData.into()) });
        handshakes.begin(caller, async {
            tokio::task::yield_now().await;
            Ok(7)
        });
        assert_eq!(handshakes.done().await, 7);
    }
}
