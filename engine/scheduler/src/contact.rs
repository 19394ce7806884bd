//! What a worker is there for, and whether it can be reached. Owned by its [`Worker`](super::worker::Worker).
//!
//!   duty:     Ready ──Drain──▶ Draining ──Release──▶ Leaving ──▶ gone
//!   contact:  Expected ──▶ Attached ⇄ Silent ──▶ gone        (a worker that is gone registers as if it were new)
//!                             ▲ └──▶ Broken ──▶ gone
//!                             └────────┘

use crate::time::Timestamp;

/// What a worker is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Takes tasks.
    Ready,
    /// Takes no more tasks, finishes what it runs, and stays until nobody needs its output.
    Draining { since: Timestamp },
    /// Was told to exit.
    Leaving,
}

/// What changes a worker's duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DutyEvent {
    /// Someone wants it drained.
    Drain(Timestamp),
    /// Nothing needs it any more.
    Release,
}

impl Duty {
    /// The duty after `event`; what was already asked for changes nothing.
    pub(crate) fn apply(&mut self, event: DutyEvent) {
        *self = match (*self, event) {
            (Self::Ready, DutyEvent::Drain(since)) => Self::Draining { since },
            (Self::Draining { .. }, DutyEvent::Release) => Self::Leaving,
            (duty, DutyEvent::Drain(_) | DutyEvent::Release) => duty,
        };
    }
}

/// Whether a worker can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contact {
    /// Its stream is open and it speaks.
    Attached,
    /// Its stream is open, but it has missed heartbeats.
    Silent,
    /// Its stream broke; it may come back until then.
    Broken { until: Timestamp },
    /// A restarted coordinator has not heard of it yet; it may come back until then.
    Expected { until: Timestamp },
}

/// What changes the contact to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContactEvent {
    /// It registered.
    Registered,
    /// It sent something on its stream.
    Heard,
    /// It missed heartbeats.
    WentSilent,
    /// Its stream broke.
    StreamBroke { until: Timestamp },
    /// Nobody could have heard it; it gets at least until then.
    Excused { until: Timestamp },
}

impl Contact {
    /// The contact after `event`. What comes from a stream that is already broken changes nothing.
    pub(crate) fn apply(&mut self, event: ContactEvent) {
        *self = match (*self, event) {
            (_, ContactEvent::Registered) => Self::Attached,
            (Self::Attached | Self::Silent, ContactEvent::Heard) => Self::Attached,
            (Self::Attached | Self::Silent, ContactEvent::WentSilent) => Self::Silent,
            (Self::Attached | Self::Silent, ContactEvent::StreamBroke { until }) => Self::Broken { until },
            (Self::Broken { until }, ContactEvent::Excused { until: new }) => Self::Broken { until: until.max(new) },
            (Self::Expected { until }, ContactEvent::Excused { until: new }) => {
                Self::Expected { until: until.max(new) }
            }
            (contact, ContactEvent::Excused { .. }) => contact,
            (contact @ (Self::Broken { .. } | Self::Expected { .. }), _) => contact,
        };
    }

    /// Whether messages reach it.
    pub(crate) fn has_stream(self) -> bool {
        matches!(self, Self::Attached | Self::Silent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contact_transitions() {
        let broken = Contact::Broken { until: Timestamp(9) };
        let expected = Contact::Expected { until: Timestamp(9) };
        let broke = ContactEvent::StreamBroke { until: Timestamp(9) };
        let excused = ContactEvent::Excused { until: Timestamp(8) };
        let events = [ContactEvent::Registered, ContactEvent::Heard, ContactEvent::WentSilent, broke, excused];
        let table = [
            (Contact::Attached, [Contact::Attached, Contact::Attached, Contact::Silent, broken, Contact::Attached]),
            (Contact::Silent, [Contact::Attached, Contact::Attached, Contact::Silent, broken, Contact::Silent]),
            (broken, [Contact::Attached, broken, broken, broken, broken]),
            (expected, [Contact::Attached, expected, expected, expected, expected]),
        ];
        for (before, after) in table {
            for (event, after) in events.into_iter().zip(after) {
                let mut contact = before;
                contact.apply(event);
                assert_eq!(contact, after, "{before:?} by {event:?}");
            }
        }
    }

    #[test]
    fn duty_transitions() {
        let since = Timestamp(3);
        let drain = DutyEvent::Drain(Timestamp(5));
        let table = [
            (Duty::Ready, drain, Duty::Draining { since: Timestamp(5) }),
            (Duty::Ready, DutyEvent::Release, Duty::Ready),
            (Duty::Draining { since }, drain, Duty::Draining { since }),
            (Duty::Draining { since }, DutyEvent::Release, Duty::Leaving),
            (Duty::Leaving, drain, Duty::Leaving),
            (Duty::Leaving, DutyEvent::Release, Duty::Leaving),
        ];
        for (before, event, after) in table {
            let mut duty = before;
            duty.apply(event);
            assert_eq!(duty, after, "{before:?} by {event:?}");
        }
    }
}
