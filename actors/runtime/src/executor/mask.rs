//! Hides the values of secrets in what processes print and in what they say of failures. Pure.

use memchr::memmem::Finder;
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::ToNode;

use crate::outside::JobProgram;

/// Shorter values are words like others: to mask them would hide nothing and garble much.
const SHORTEST: usize = 4;
const MASK: &[u8] = b"***";

/// The secrets of one job.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mask {
    /// The longest first, since one may be part of another.
    secrets: Vec<Finder<'static>>,
}

impl Mask {
    /// The secrets among the variables of a job. Each line of a value with many is a secret of its own.
    pub(crate) fn new(program: &JobProgram) -> Self {
        let values = program.secret_names.iter().filter_map(|name| program.environment.get(name));
        let mut values: Vec<&str> = values.flat_map(|value| value.lines()).map(str::trim).collect();
        values.retain(|value| value.len() >= SHORTEST);
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        values.dedup();
        Self { secrets: values.into_iter().map(|value| Finder::new(value).into_owned()).collect() }
    }

    /// Bytes of the longest secret.
    pub(crate) fn longest(&self) -> usize {
        self.secrets.first().map_or(0, |secret| secret.needle().len())
    }

    /// Puts `***` in the place of each secret.
    pub(crate) fn apply(&self, text: &mut Vec<u8>) {
        for secret in &self.secrets {
            let mut from = 0;
            while let Some(found) = secret.find(&text[from..]) {
                let start = from + found;
                text.splice(start..start + secret.needle().len(), MASK.iter().copied());
                from = start + MASK.len();
            }
        }
    }

    /// Does so where a process says why something failed.
    pub(crate) fn apply_to(&self, message: &mut ToNode) {
        match message {
            ToNode::Done { outcome: Err(failure), .. } | ToNode::DriverDone(Err(failure)) => {
                self.apply_to_failure(failure)
            }
            _ => {}
        }
    }

    fn apply_to_failure(&self, failure: &mut Failure) {
        if self.secrets.is_empty() {
            return;
        }
        for text in std::iter::once(&mut failure.message).chain(&mut failure.chain) {
            let mut bytes = std::mem::take(text).into_bytes();
            self.apply(&mut bytes);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        failure.cause.iter_mut().for_each(|cause| self.apply_to_failure(cause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let names: Vec<String> = (0..values.len()).map(|i| format!("S{i}")).collect();
        let environment = names.iter().cloned().zip(values.iter().map(ToString::to_string)).collect();
        Mask::new(&JobProgram {
            executable: "/bin/true".into(),
            files: None,
            environment,
            secret_names: names,
            job_name: String::new(),
        })
    }

    #[test]
    fn all_secrets_are_masked_and_nothing_else() {
        let cases = [
            (&["hunter2"][..], "user=a password=hunter2 hunter2", "user=a password=*** ***"),
            (&["long", "longer"], "longer long", "*** ***"),
            (&["abc"], "abc", "abc"),
            (&["one line\nsecond"], "x second one line", "x *** ***"),
            (&["a***a"], "a***a", "***"),
            (&[], "nothing", "nothing"),
        ];
        for (secrets, text, expected) in cases {
            let mut bytes = text.as_bytes().to_vec();
            mask(secrets).apply(&mut bytes);
            assert_eq!(String::from_utf8_lossy(&bytes), expected);
        }
    }

    #[test]
    fn failures_are_masked_with_their_causes() {
        let failure = |text: &str| Failure::new(tandem_actor_protocol::failure::FailureKind::Returned, "f", text);
        let said = |secret: &str| Failure {
            chain: vec![format!("no such user: {secret}")],
            cause: Some(Box::new(failure(secret))),
            ..failure(&format!("cannot connect with {secret}"))
        };
        let mut message = ToNode::DriverDone(Err(said("hunter2")));
        mask(&["hunter2"]).apply_to(&mut message);
        assert_eq!(message, ToNode::DriverDone(Err(said("***"))));
    }
}
