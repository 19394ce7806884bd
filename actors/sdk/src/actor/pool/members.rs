//! Which actors of a pool take calls, and which of them gets the next one. Pure.
//!
//! ```text
//!   Taking ─a call was lost─► Asked ─answers─► Taking
//!     │                         │ does not, however often it is asked
//!     └──────is gone────────────┴─────────────► Gone
//! ```

use tandem_actor_protocol::failure::{Failure, FailureKind};

/// How often an actor is asked whether it is there. One that was lost may be lost again while it answers.
const MAX_QUESTIONS: u32 = 3;

pub(super) struct Members {
    members: Vec<Member>,
    /// Calls that one may have under way.
    at_once: u32,
    /// Whose turn it is among those with as few calls.
    turn: usize,
}

struct Member {
    under_way: u32,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Taking,
    Asked { times: u32 },
    Gone(Failure),
}

/// What happens to an actor, as far as calls to it show.
#[derive(Debug)]
pub(super) enum Event {
    /// It was lost while it had a call, and may be started again.
    Lost,
    /// It answers.
    Answered,
    /// It did not answer.
    Silent(Failure),
    /// It is gone for good.
    Gone(Failure),
}

/// Where the next call goes.
#[derive(Debug, PartialEq)]
pub(super) enum Room {
    /// To this one, which has it under way from now on.
    At(usize),
    /// Nowhere, until a call has ended.
    Later,
    /// Nowhere any more.
    Never(Failure),
}

impl Members {
    pub(super) fn new(count: usize, at_once: u32) -> Self {
        let members = (0..count).map(|_| Member { under_way: 0, state: State::Taking }).collect();
        Self { members, at_once: at_once.max(1), turn: 0 }
    }

    /// Calls that all together may have under way.
    pub(super) fn capacity(&self) -> usize {
        self.members.len() * self.at_once as usize
    }

    pub(super) fn set_at_once(&mut self, at_once: u32) {
        self.at_once = at_once.max(1);
    }

    /// The one with the fewest calls under way gets the next one.
    pub(super) fn take_room(&mut self) -> Room {
        let count = self.members.len();
        let after_turn = |index: &usize| (index + count - self.turn) % count;
        let taking = (0..count).filter(|index| self.members[*index].state == State::Taking);
        let free = taking.filter(|index| self.members[*index].under_way < self.at_once);
        match free.min_by_key(|index| (self.members[*index].under_way, after_turn(index))) {
            Some(index) => {
                self.members[index].under_way += 1;
                self.turn = (index + 1) % count;
                Room::At(index)
            }
            None => self.last_loss().map_or(Room::Later, Room::Never),
        }
    }

    /// A call of this one has ended.
    pub(super) fn give_back(&mut self, member: usize) {
        let under_way = &mut self.members[member].under_way;
        *under_way = under_way.saturating_sub(1);
    }

    /// True: it is to be asked whether it is there.
    pub(super) fn apply(&mut self, member: usize, event: Event) -> bool {
        let state = &mut self.members[member].state;
        *state = match (&*state, event) {
            (State::Gone(_), _) => return false,
            (State::Taking, Event::Lost) => State::Asked { times: 1 },
            (State::Asked { times }, Event::Silent(_)) if *times < MAX_QUESTIONS => State::Asked { times: times + 1 },
            (State::Asked { .. }, Event::Answered) => State::Taking,
            (State::Asked { .. }, Event::Silent(failure)) | (_, Event::Gone(failure)) => State::Gone(failure),
            (State::Asked { .. }, Event::Lost) | (State::Taking, Event::Answered | Event::Silent(_)) => return false,
        };
        matches!(state, State::Asked { .. })
    }

    /// Why no call can be made any more; none if one can, now or later.
    fn last_loss(&self) -> Option<Failure> {
        let mut lost = None;
        for member in &self.members {
            let State::Gone(failure) = &member.state else { return None };
            lost = Some(failure);
        }
        let message = format!("all {} actors of the pool are gone", self.members.len());
        let cause = lost.map(|failure| Box::new(failure.clone()));
        Some(Failure { cause, ..Failure::new(FailureKind::ActorGone, "", message) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Failure {
        Failure::new(FailureKind::ActorGone, "Scorer", "the actor is gone")
    }

    #[test]
    fn each_call_goes_to_the_actor_with_the_fewest() {
        let mut members = Members::new(3, 2);
        let rooms: Vec<_> = (0..6).map(|_| members.take_room()).collect();
        assert_eq!(rooms, [0, 1, 2, 0, 1, 2].map(Room::At));
        assert_eq!(members.take_room(), Room::Later);
        members.give_back(1);
        assert_eq!(members.take_room(), Room::At(1));
        members.give_back(2);
        members.give_back(0);
        members.give_back(0);
        assert_eq!([members.take_room(), members.take_room()], [0, 2].map(Room::At), "it has none under way");
    }

    #[test]
    fn actors_without_calls_take_turns() {
        let mut members = Members::new(2, 1);
        for expected in [0, 1, 0, 1] {
            assert_eq!(members.take_room(), Room::At(expected));
            members.give_back(expected);
        }
    }

    #[test]
    fn states_change_as_drawn() {
        use State::{Asked, Taking};
        let gone = || State::Gone(gone());
        let silent = || Event::Silent(self::gone());
        let cases = [
            (Taking, Event::Lost, Asked { times: 1 }, true),
            (Taking, Event::Answered, Taking, false),
            (Taking, silent(), Taking, false),
            (Taking, Event::Gone(self::gone()), gone(), false),
            (Asked { times: 1 }, Event::Lost, Asked { times: 1 }, false),
            (Asked { times: 2 }, Event::Answered, Taking, false),
            (Asked { times: 1 }, silent(), Asked { times: 2 }, true),
            (Asked { times: MAX_QUESTIONS }, silent(), gone(), false),
            (Asked { times: 1 }, Event::Gone(self::gone()), gone(), false),
            (gone(), Event::Lost, gone(), false),
            (gone(), Event::Answered, gone(), false),
        ];
        for (state, event, expected, asks) in cases {
            let case = format!("{state:?} {event:?}");
            let mut members = Members::new(1, 1);
            members.members[0].state = state;
            assert_eq!(members.apply(0, event), asks, "{case}");
            assert_eq!(members.members[0].state, expected, "{case}");
        }
    }

    #[test]
    fn others_do_the_share_of_one_that_is_gone_and_the_last_loss_is_told() {
        let mut members = Members::new(2, 1);
        assert!(members.apply(0, Event::Lost));
        assert_eq!(members.take_room(), Room::At(1));
        members.apply(0, Event::Gone(gone()));
        assert_eq!(members.take_room(), Room::Later);
        members.give_back(1);
        assert_eq!(members.take_room(), Room::At(1));
        members.apply(1, Event::Gone(gone()));
        let Room::Never(failure) = members.take_room() else { panic!("nobody is left") };
        assert_eq!((failure.kind, failure.cause), (FailureKind::ActorGone, Some(Box::new(gone()))));
        assert_eq!(failure.message, "all 2 actors of the pool are gone");
    }
}
