//! One call of an actor's method.

use std::marker::PhantomData;

use tandem_actor_protocol::call::{ActorCall, CallOptions, ConcurrencyGroup};
use tandem_actor_protocol::failure::Failure;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ActorId, CallId};

use super::handle::ActorRef;
use crate::calls;
use crate::task::{Arguments, Handles, IntoArg, Returns, Streamed};
use crate::value::Data;

/// A call that gets its arguments.
pub struct MethodCall<'a, R> {
    actor: ActorId,
    method: &'static str,
    tells_end: bool,
    /// None if the actor was never started.
    arguments: Result<Arguments<'a>, Failure>,
    group: Option<ConcurrencyGroup>,
    /// For a stream: how many items may be yielded ahead.
    window: Option<u32>,
    types: PhantomData<fn() -> R>,
}

impl<'a, R: Returns> MethodCall<'a, R> {
    pub(super) fn new(actor: &'a ActorRef, method: &'static str, count: usize) -> Self {
        let arguments = actor.process().map(|process| Arguments::new(process, count));
        let tells_end = actor.tells_ends() && !R::STREAMS;
        Self { actor: actor.id(), method, tells_end, arguments, group: None, window: None, types: PhantomData }
    }

    /// The concurrency group of the method.
    #[must_use]
    pub fn in_group(self, name: &str, concurrency: u32) -> Self {
        Self { group: Some(ConcurrencyGroup { name: name.to_owned(), concurrency }), ..self }
    }

    /// The next argument.
    #[must_use]
    pub fn arg<T: Data>(mut self, argument: impl IntoArg<T>) -> Self {
        if let Ok(arguments) = &mut self.arguments {
            arguments.push(argument);
        }
        self
    }

    /// Makes the call.
    pub fn send(self) -> R::Refs {
        let Self { actor, method, tells_end, arguments, group, window, .. } = self;
        let sent = arguments.and_then(|arguments| {
            let process = arguments.process();
            let (args, kept) = arguments.end(method)?;
            let returns = R::COUNT + u32::from(tells_end);
            let call = CallId(process.new_ids(returns).0);
            let handles = process.returned(call, R::COUNT, tells_end);
            let parent = calls::current().map(|call| call.id);
            let method = method.to_owned();
            let call = ActorCall { call, actor, method, args, returns, parent };
            let options = CallOptions { group, stream: R::STREAMS };
            process.send(if options == CallOptions::default() {
                ToNode::Call(call)
            } else {
                ToNode::CallWith { call, options }
            });
            drop(kept);
            Ok(Handles(handles))
        });
        let handles = sent.unwrap_or_else(|failure| Handles::failed(R::COUNT, &failure));
        match window {
            Some(window) => R::refs_within(handles, window),
            None => R::refs(handles),
        }
    }
}

impl<T> MethodCall<'_, Streamed<T>> {
    /// How many items may be yielded that were not taken, as of a [task](crate::TaskCall::window).
    #[must_use]
    pub fn window(self, items: u32) -> Self {
        Self { window: Some(items), ..self }
    }
}
