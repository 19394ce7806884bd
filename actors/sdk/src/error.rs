//! Errors of users' functions as failures.

use std::any::Any;
use std::error::Error;

use tandem_actor_protocol::failure::{Failure, FailureKind};

/// What an error of any kind can become: those of `std`, of anyhow, and texts.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The most causes that are told.
const MAX_CHAIN: usize = 32;

/// What to tell of an error that a function returned. The failure of another call among its causes stays whole.
pub fn returned<E: Into<BoxError> + 'static>(error: E) -> Failure {
    let any: &dyn Any = &error;
    // As a box, an error of anyhow hides what it was made of.
    if let Some(error) = any.downcast_ref::<anyhow::Error>() {
        return told(error.chain());
    }
    let error: BoxError = error.into();
    let outermost: &(dyn Error + 'static) = &*error;
    told(std::iter::successors(Some(outermost), |error| (**error).source()))
}

fn told<'a>(causes: impl Iterator<Item = &'a (dyn Error + 'static)>) -> Failure {
    let mut chain = Vec::new();
    let mut failure = None;
    for error in causes.take(MAX_CHAIN) {
        failure = error.downcast_ref::<Failure>();
        if failure.is_some() {
            break;
        }
        chain.push(error.to_string());
    }
    let message = if chain.is_empty() { "a call that it needed failed".to_owned() } else { chain.remove(0) };
    let cause = failure.map(|failure| Box::new(failure.clone()));
    Failure { chain, cause, ..Failure::new(FailureKind::Returned, "", message) }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn causes_are_told_outermost_first() {
        let error = "x".parse::<u32>().context("the port is wrong").expect_err("no number");
        let failure = returned(error);
        assert_eq!(failure.message, "the port is wrong");
        assert_eq!(failure.chain, ["invalid digit found in string"]);
        assert_eq!(returned("a text").message, "a text");
    }

    #[test]
    fn the_failure_of_another_call_stays_whole() {
        let inner = Failure::new(FailureKind::TimedOut, "slow", "it took 5 s");
        let error = Err::<(), _>(inner.clone()).context("no rates").expect_err("it failed");
        let failure = returned(error);
        assert_eq!((failure.message.as_str(), failure.cause), ("no rates", Some(Box::new(inner.clone()))));
        let failure = returned(anyhow::Error::from(inner.clone()));
        assert_eq!((failure.kind, failure.cause), (FailureKind::Returned, Some(Box::new(inner.clone()))));
        let failure = returned(inner.clone());
        assert_eq!((failure.kind, failure.cause), (FailureKind::Returned, Some(Box::new(inner))));
    }
}
