//! The attributes `task`, `actor` and `main` of Tandem programs. What they write is in the crate `tandem`, which a program
//! depends on under this name; they are documented there too.

mod actor;
mod main_function;
mod options;
mod signature;
mod task;

use proc_macro::TokenStream;

/// Makes a function a task: it can still be called, and beside it is a type of the same name to submit calls with.
///
/// The function is async or not; one that is not may block its thread. Its arguments are passed by value, and it returns a
/// value, a `Result` of one, or nothing. With a first parameter of the type `Context` or `&Context` it can submit tasks and
/// wait for objects itself. For a task called `area` there are
///
/// - `area::submit(&ctx, …)`, which takes for each argument a value or an `ObjectRef` to one, and gives an `ObjectRef` of the
///   result at once, and
/// - `area::with(&ctx)`, on which this call's options are set before `.submit(…)`.
///
/// Options of all calls go into the attribute: `#[tandem::task(retries = 5, timeout = "30s", cpus = 0.5)]`, also `gpus`, `name`
/// and the flag `spread`. With `returns = 2` the function returns a tuple of two, and each part is an object of its own. With the flag
/// `stream` its last parameter is a `Yield<T>`, it returns nothing or a `Result<()>`, and its caller gets an `ObjectStream<T>` of what it
/// yields, of which `window = 16` may be ahead.
///
/// ```ignore
/// use tandem::prelude::*;
///
/// #[tandem::task(returns = 2, timeout = "1m")]
/// fn divide(a: u64, b: u64) -> Result<(u64, u64)> {
///     tandem::ensure!(b != 0, "cannot divide {a} by nothing");
///     Ok((a / b, a % b))
/// }
///
/// async fn remainder(ctx: &Context, a: u64) -> Result<u64> {
///     let (_quotient, rest) = divide::submit(ctx, a, 7_u64);
///     Ok(rest.await?)
/// }
///
/// assert_eq!(divide(9, 7).unwrap(), (1, 2));
/// ```
///
/// Arguments come from another process, so they cannot be references, and a task has one type:
///
/// ```ignore
/// #[tandem::task]
/// fn shout(text: &str) -> String {
///     text.to_uppercase()
/// }
/// ```
///
/// ```ignore
/// #[tandem::task]
/// fn first<T>(all: Vec<T>) -> Option<T> {
///     all.into_iter().next()
/// }
/// ```
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    written(task::expand(options.into(), item.into()))
}

/// Makes a type an actor: the methods of the `impl` block with `&self` or `&mut self` can be called from anywhere in the job.
///
/// `fn new` is its constructor. It and all methods may be async or not, may fail, and may have a `Context` as their first
/// parameter, as with tasks. For a type called `Counter` there are
///
/// - `Counter::spawn(&ctx, …)` with the arguments of `new`, which starts one and gives a handle once it has started,
/// - `Counter::get_or_create(&ctx, name, …)` and `Counter::find(&ctx, name)`, and
/// - `CounterHandle`, which has each method: it gives an `ObjectRef` of the result at once. Handles can be cloned and passed
///   to tasks and other actors.
///
/// The calls of one caller happen in their order. If there are `fn checkpoint(&self) -> T` and `fn restore(state: T) -> Self`, an
/// actor that is started again after a loss goes on from the last checkpoint, which is made after each call of a method with
/// `&mut self`, before its result is seen, or after every `checkpoint_every` such calls. With `retry_calls` too, each call happens
/// exactly once, and its result is seen when a checkpoint that covers it is kept.
///
/// Options of all actors of the type go into the attribute: `max_restarts`, `retry_calls`, `concurrency`, `concurrency_groups`,
/// `max_pending_calls`, `cpus`, `gpus`, `light`, `checkpoint_every`. Those of a method go before it, see [`macro@method`]. Methods that are
/// not to be called from elsewhere go into another `impl` block.
///
/// ```ignore
/// use tandem::prelude::*;
///
/// struct Counter {
///     count: u64,
/// }
///
/// #[tandem::actor(max_restarts = 2)]
/// impl Counter {
///     fn new(start: u64) -> Self {
///         Self { count: start }
///     }
///
///     async fn add(&mut self, n: u64) -> u64 {
///         self.count += n;
///         self.count
///     }
///
///     fn checkpoint(&self) -> u64 {
///         self.count
///     }
///
///     fn restore(state: u64) -> Self {
///         Self { count: state }
///     }
/// }
///
/// async fn count(ctx: &Context) -> Result<u64> {
///     let counter = Counter::spawn(ctx, 0).named("hits").resources(cpus(0.5)).await?;
///     counter.add(1);
///     Ok(counter.add(2).await?)
/// }
/// ```
#[proc_macro_attribute]
pub fn actor(options: TokenStream, item: TokenStream) -> TokenStream {
    written(actor::expand(options.into(), item.into()))
}

/// Says something of a method of an [`actor`](macro@actor), and stands before it:
///
/// - `stream`: it yields items, as a task with this flag does. Its last parameter is a `Yield<T>`, it returns nothing or a `Result<()>`, and
///   its caller gets an `ObjectStream<T>`, of which `window = 16` items may be ahead.
/// - `group = "io"`: its calls are in this concurrency group, one of those in `concurrency_groups(io = 2, compute = 4)` of the actor. So many
///   calls of a group are worked on at once, beside those of other groups and those in none.
///
/// ```ignore
/// use tandem::prelude::*;
///
/// struct Log {
///     lines: Vec<String>,
/// }
///
/// #[tandem::actor(concurrency_groups(reads = 4))]
/// impl Log {
///     fn new() -> Self {
///         Self { lines: Vec::new() }
///     }
///
///     fn add(&mut self, line: String) {
///         self.lines.push(line);
///     }
///
///     #[tandem::method(stream, group = "reads")]
///     async fn lines(&self, to: Yield<String>) -> Result<()> {
///         for line in &self.lines {
///             to.send(line).await?;
///         }
///         Ok(())
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn method(_options: TokenStream, _item: TokenStream) -> TokenStream {
    let message = "it stands before a method with `&self` or `&mut self`, in an `impl` block with `#[tandem::actor]`";
    written(Err(syn::Error::new(proc_macro2::Span::call_site(), message)))
}

/// Makes an async function the program's main function: the driver of a job.
///
/// It may have a `Context` and `Args` as its parameters, and returns nothing or a `Result`. With
/// `#[tandem::main(requires = ["API_KEY"])]` a job without one of these variables fails before it has done anything, and names all
/// that are missing. Every process of the job is this
/// program, and becomes what its worker says; started by hand it tells how it is submitted, and with `--list` prints its
/// functions.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    written(main_function::expand(options.into(), item.into()))
}

fn written(code: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    code.unwrap_or_else(|error| error.to_compile_error()).into()
}
