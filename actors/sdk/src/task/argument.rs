//! Arguments on their way out.

use std::sync::Arc;

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::{Failure, FailureKind};

use crate::object_ref::ObjectRef;
use crate::objects::Handle;
use crate::process::Process;
use crate::value::{Batches, Data, build};

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

/// The arguments of one call, with handles of what they name, to be kept until the call is sent.
pub(crate) struct Arguments<'a> {
    process: &'a Arc<Process>,
    args: Vec<Arg>,
    named: Vec<Arc<Handle>>,
    failed: Option<Failure>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(process: &'a Arc<Process>, count: usize) -> Self {
        Self { process, args: Vec::with_capacity(count), named: Vec::new(), failed: None }
    }

    pub(crate) fn process(&self) -> &'a Arc<Process> {
        self.process
    }

    pub(crate) fn push<T: Data>(&mut self, argument: impl IntoArg<T>) {
        match argument.into_arg() {
            Argument::Value(value) => match build(self.process, &value) {
                Ok(built) => {
                    self.named.extend(built.named);
                    self.args.push(Arg::Value(built.value));
                }
                Err(failure) => self.failed = Some(failure),
            },
            Argument::Object(object) => match object.handle().never_sent() {
                None => {
                    self.args.push(Arg::Object(object.id()));
                    self.named.push(Arc::clone(object.handle()));
                }
                Some(failure) => {
                    let cause = Some(Box::new(Failure::clone(&failure)));
                    let message = "an argument has no value";
                    self.failed = Some(Failure { cause, ..Failure::new(FailureKind::Dependency, "", message) });
                }
            },
        }
    }

    /// The arguments and what they name, or why there are none; `function` is what they are for.
    pub(crate) fn end(self, function: &str) -> Result<(Vec<Arg>, Vec<Arc<Handle>>), Failure> {
        match self.failed {
            None => Ok((self.args, self.named)),
            Some(failure) => Err(Failure { task: function.to_owned(), ..failure }),
        }
    }
}
