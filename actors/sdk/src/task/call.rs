//! One call of a task that is about to be submitted.

use std::marker::PhantomData;

use tandem_actor_protocol::CallId;
use tandem_actor_protocol::call::{TaskOptions, TaskSpec};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::placement::BundleId;

use super::argument::{Arguments, IntoArg};
use super::returns::{Handles, Returns};
use crate::context::Context;
use crate::objects::Handle;
use crate::value::Data;

/// A call of a task with parameters of the types `A`, to be submitted in some way: what `with` gives.
///
/// ```
/// use std::time::Duration;
/// use tandem::prelude::*;
///
/// #[tandem::task]
/// async fn fetch(url: String) -> Result<Vec<u8>> {
///     # let _ = url;
///     Ok(Vec::new())
/// }
///
/// fn fetch_patiently(ctx: &Context, url: &str) -> ObjectRef<Vec<u8>> {
///     fetch::with(ctx)
///         .name("fetch the rates")
///         .retries(5)
///         .retry(Retry::OnErrorsWith(vec!["timed out".to_owned()]))
///         .timeout(Duration::from_secs(30))
///         .resources(cpus(0.1).custom("internet", 1.0))
///         .submit(url)
/// }
/// ```
pub struct TaskCall<'a, A, R> {
    ctx: &'a Context,
    function: &'static str,
    pub(crate) options: Option<Box<TaskOptions>>,
    pub(super) bundle: Option<BundleId>,
    /// For a stream: how many items may be yielded ahead.
    pub(super) window: Option<u32>,
    types: PhantomData<fn(A) -> R>,
}

impl<'a, A, R: Returns> TaskCall<'a, A, R> {
    #[doc(hidden)]
    pub fn new(ctx: &'a Context, function: &'static str) -> Self {
        Self { ctx, function, options: None, bundle: None, window: None, types: PhantomData }
    }

    fn send(self, arguments: Arguments<'_>) -> R::Refs {
        let Self { ctx, function, options, bundle, window, .. } = self;
        let (args, kept) = match arguments.end(function) {
            Ok(arguments) => arguments,
            Err(failure) => return R::refs(Handles::failed(R::COUNT, &failure)),
        };
        let process = ctx.process();
        let tells_end = ctx.tells_ends() && !R::STREAMS;
        let returns = R::COUNT + u32::from(tells_end);
        let call = CallId(process.new_ids(returns).0);
        let handles = process.returned(call, R::COUNT, tells_end);
        let function = function.to_owned();
        let spec = TaskSpec { call, function, args, returns, parent: ctx.parent(), options };
        process.send(match bundle {
            bundle if R::STREAMS => ToNode::SubmitStream { task: spec, bundle },
            Some(bundle) => ToNode::SubmitIn { task: spec, bundle },
            None => ToNode::Submit(spec),
        });
        drop(kept);
        match window {
            Some(window) => R::refs_within(Handles(handles), window),
            None => R::refs(Handles(handles)),
        }
    }
}

impl Handles {
    /// Those of a call that could not be sent.
    pub(crate) fn failed(count: u32, failure: &tandem_actor_protocol::failure::Failure) -> Self {
        Self((0..count).map(|_| Handle::failed(failure.clone()).into()).collect())
    }
}

macro_rules! submit {
    ($($type:ident $name:ident),*) => {
        impl<$($type: Data,)* R: Returns> TaskCall<'_, ($($type,)*), R> {
            /// Submits the call. Each argument is a value or a ref to one.
            #[allow(clippy::too_many_arguments, reason = "as many as the function has")]
            pub fn submit(self $(, $name: impl IntoArg<$type>)*) -> R::Refs {
                const NAMES: &[&str] = &[$(stringify!($name)),*];
                #[allow(unused_mut, reason = "there may be none")]
                let mut arguments = Arguments::new(self.ctx.process(), NAMES.len());
                $(arguments.push($name);)*
                self.send(arguments)
            }
        }
    };
}

submit!();
submit!(A a);
submit!(A a, B b);
submit!(A a, B b, C c);
submit!(A a, B b, C c, D d);
submit!(A a, B b, C c, D d, E e);
submit!(A a, B b, C c, D d, E e, F f);
submit!(A a, B b, C c, D d, E e, F f, G g);
submit!(A a, B b, C c, D d, E e, F f, G g, H h);
submit!(A a, B b, C c, D d, E e, F f, G g, H h, I i);
submit!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j);
submit!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k);
submit!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, L l);
