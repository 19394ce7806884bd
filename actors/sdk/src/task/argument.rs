//! Arguments on their way out.

use std::sync::Arc;

use tandem_actor_protocol::INLINE_BYTES;
use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::Body;

use crate::object_ref::ObjectRef;
use crate::process::Process;
use crate::value::{Batches, Built, Data, Kept, build_within};

/// An argument for a parameter of type `T`: a value, or a ref to one that is there or will be.
pub enum Argument<T> {
    /// This value.
    Value(T),
    /// The value of this object. The call starts when it is there.
    Object(ObjectRef<T>),
}

/// What can be passed for a parameter of type `T`: a `T`, or an [`ObjectRef<T>`].
pub trait IntoArg<T> {
    /// This as an argument.
    fn into_arg(self) -> Argument<T>;
}

impl<T> IntoArg<T> for T {
    fn into_arg(self) -> Argument<T> {
        Argument::Value(self)
    }
}

impl<T> IntoArg<T> for ObjectRef<T> {
    fn into_arg(self) -> Argument<T> {
        Argument::Object(self)
    }
}

impl<T> IntoArg<T> for &ObjectRef<T> {
    fn into_arg(self) -> Argument<T> {
        Argument::Object(self.clone())
    }
}

impl IntoArg<String> for &str {
    fn into_arg(self) -> Argument<String> {
        Argument::Value(self.to_owned())
    }
}

impl IntoArg<Batches> for arrow_array::RecordBatch {
    fn into_arg(self) -> Argument<Batches> {
        Argument::Value(self.into())
    }
}

/// The arguments of one call.
pub(crate) struct Arguments<'a> {
    process: &'a Arc<Process>,
    args: Vec<Arg>,
    kept: Kept,
    /// What the message has of them so far.
    inline_bytes: usize,
    failed: Option<Failure>,
}

/// With so many bytes of arguments in a message, the next ones go elsewhere.
const MAX_INLINE_BYTES: usize = 8 << 20;

impl<'a> Arguments<'a> {
    pub(crate) fn new(process: &'a Arc<Process>, count: usize) -> Self {
        Self { process, args: Vec::with_capacity(count), kept: Kept::default(), inline_bytes: 0, failed: None }
    }

    pub(crate) fn process(&self) -> &'a Arc<Process> {
        self.process
    }

    pub(crate) fn push<T: Data>(&mut self, argument: impl IntoArg<T>) {
        match argument.into_arg() {
            Argument::Value(value) => match self.build(&value) {
                Ok(built) => {
                    self.inline_bytes +=
                        if let Body::Inline { bytes, .. } = &built.value.body { bytes.len() } else { 0 };
                    self.kept.and(built.kept);
                    self.args.push(Arg::Value(built.value));
                }
                Err(failure) => self.failed = Some(failure),
            },
            Argument::Object(object) => match object.handle().never_sent() {
                None => {
                    self.args.push(Arg::Object(object.id()));
                    self.kept.name(Arc::clone(object.handle()));
                }
                Some(failure) => {
                    let cause = Some(Box::new(Failure::clone(&failure)));
                    let message = "an argument has no value";
                    self.failed = Some(Failure { cause, ..Failure::new(FailureKind::Dependency, "", message) });
                }
            },
        }
    }

    /// The same arguments for `count` calls: what is too large for a message becomes an object that all of them name.
    pub(crate) fn repeat(self, count: usize) -> Vec<Self> {
        let Self { process, args, mut kept, failed, .. } = self;
        let mut shared = |arg| match arg {
            Arg::Value(value) => match value.body {
                Body::Shared { object, .. } => {
                    kept.name(process.objects().insert(process, object));
                    process.send(ToNode::Put { object, value });
                    Arg::Object(object)
                }
                Body::Inline { .. } => Arg::Value(value),
            },
            Arg::Object(object) => Arg::Object(object),
        };
        let args: Vec<Arg> = args.into_iter().map(&mut shared).collect();
        let again = |_| {
            let kept = Kept::from(kept.named().to_vec());
            Self { process, args: args.clone(), kept, inline_bytes: 0, failed: failed.clone() }
        };
        (0..count).map(again).collect()
    }

    /// Writes an argument. What is too much for one message goes into shared memory.
    fn build<T: Data>(&self, value: &T) -> Result<Built, Failure> {
        let inline_bytes = if self.inline_bytes < MAX_INLINE_BYTES { INLINE_BYTES } else { 0 };
        build_within(self.process, value, inline_bytes, || self.process.new_ids(1))
    }

    /// The arguments and what they need until the call is sent, or why there are none; `function` is what they are for.
    pub(crate) fn end(self, function: &str) -> Result<(Vec<Arg>, Kept), Failure> {
        match self.failed {
            None => Ok((self.args, self.kept)),
            Some(failure) => Err(Failure { task: function.to_owned(), ..failure }),
        }
    }
}
