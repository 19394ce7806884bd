//! What a call gives at once in place of its result.

use std::fmt;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::{Error as _, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tandem_actor_protocol::ObjectId;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{CallId, failure::Failure};

use crate::context::Context;
use crate::getting::Get;
use crate::objects::Handle;
use crate::value::{Data, found, name};

/// Refers to a value of type `T` that is there or will be: the result of a call, or something that was put.
///
/// It can be cloned, passed to tasks and actors in place of the value or inside of other values, and awaited for the value
/// itself. The value is kept as long as there is a ref to it anywhere in the job.
///
/// ```
/// use tandem::prelude::*;
///
/// #[tandem::task]
/// fn double(n: u64) -> u64 {
///     n * 2
/// }
///
/// async fn quadruple(ctx: &Context, n: u64) -> Result<u64> {
///     let doubled: ObjectRef<u64> = double::submit(ctx, n);
///     let twice = double::submit(ctx, &doubled); // starts when `doubled` is there, and never brings it here
///     Ok(twice.await?)
/// }
/// ```
pub struct ObjectRef<T> {
    handle: Arc<Handle>,
    value: PhantomData<fn() -> T>,
}

impl<T> ObjectRef<T> {
    pub(crate) fn new(handle: Arc<Handle>) -> Self {
        Self { handle, value: PhantomData }
    }

    pub(crate) fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// The object's id, for logs and the command line.
    pub fn id(&self) -> ObjectId {
        self.handle.id()
    }

    /// Ends the call that would make the value, and all that it has submitted. Whoever waits for the value gets a failure
    /// of the kind [`Cancelled`](crate::FailureKind::Cancelled), unless the call was done before. A function that is not
    /// async is told by [`Context::is_cancelled`], and goes on until it looks.
    pub fn cancel(&self, ctx: &Context) {
        self.cancel_with(ctx, false);
    }

    /// As [`Self::cancel`], but ends the process of the call after a grace if it goes on.
    pub fn cancel_by_force(&self, ctx: &Context) {
        self.cancel_with(ctx, true);
    }

    /// As [`Self::cancel`], with what the ref itself has.
    pub(crate) fn abandon(&self) {
        if let Some(process) = self.handle.process() {
            process.send(ToNode::Cancel { call: CallId(self.id().0), force: false });
        }
    }

    fn cancel_with(&self, ctx: &Context, force: bool) {
        if self.handle.never_sent().is_none() {
            ctx.process().send(ToNode::Cancel { call: CallId(self.id().0), force });
        }
    }
}

impl<T> Clone for ObjectRef<T> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.handle))
    }
}

impl<T> fmt::Debug for ObjectRef<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectRef({})", self.id())
    }
}

/// Waits for the value.
impl<T: Data> IntoFuture for ObjectRef<T> {
    type Output = Result<T, Failure>;
    type IntoFuture = Get<T>;

    fn into_future(self) -> Get<T> {
        Get::new(self.handle)
    }
}

/// Waits for the value.
impl<T: Data> IntoFuture for &ObjectRef<T> {
    type Output = Result<T, Failure>;
    type IntoFuture = Get<T>;

    fn into_future(self) -> Get<T> {
        Get::new(Arc::clone(&self.handle))
    }
}

/// Why a ref is only written and read inside of values that are passed on.
const OUTSIDE: &str = "an object ref can only be passed on inside of arguments, results and objects";

impl<T> Serialize for ObjectRef<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !name(&self.handle) {
            return Err(S::Error::custom(OUTSIDE));
        }
        if serializer.is_human_readable() {
            return serializer.collect_str(&format_args!("{:032x}", self.id().0));
        }
        serializer.serialize_u128(self.id().0)
    }
}

impl<'de, T> Deserialize<'de> for ObjectRef<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = if deserializer.is_human_readable() {
            deserializer.deserialize_str(HexId)?
        } else {
            u128::deserialize(deserializer)?
        };
        found(ObjectId(id)).map(Self::new).ok_or_else(|| D::Error::custom(OUTSIDE))
    }
}

/// Reads an id as text.
struct HexId;

impl Visitor<'_> for HexId {
    type Value = u128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the 32 hexadecimal digits of an object's id")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u128, E> {
        u128::from_str_radix(text, 16).map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}
