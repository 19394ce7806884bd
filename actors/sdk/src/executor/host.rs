//! Runs actors: one whose calls come one by one and may block the thread, or many that wait together on it.
//!
//! ```text
//!   letters of an actor ─┬─► calls in no group ─► so many at once ─┐
//!                        ├─► calls of a group  ─► so many at once ─┼─► the actor: many that read it, or one that changes it
//!                        └─► …                                     ┘
//! ```

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use futures::future::{join, join_all};
use tandem_actor_protocol::ActorId;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::ToNode;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, LocalSet, spawn_local};

use super::ends::{finish, flush_output};
use super::tasks::{counted, run_async, run_plain};
use super::work::{Birth, Job, Work};
use crate::actor::{Class, Instance, More, Starting};
use crate::calls::Call;
use crate::context::Context;
use crate::getting::Flushing;
use crate::inputs::{CallOutcome, Inputs, Outputs};
use crate::process::Process;
use crate::registry;

/// Runs the one actor of this process.
pub(crate) fn run_one(process: &Arc<Process>, runtime: &Runtime) {
    let mut actor: Option<Rc<dyn Instance>> = None;
    while let Some(work) = process.work().next() {
        match work {
            Work::Start(birth) if works_together(&birth) => return run(process, runtime, Some(birth)),
            Work::Start(birth) => actor = start_here(process, runtime, birth),
            Work::Run(job) => call_here(process, runtime, actor.as_ref(), job),
            Work::Taken(call) => tell_here(process, runtime, actor.as_ref(), call),
            Work::End(id) => {
                drop(actor);
                return process.transport().post(ToNode::ActorEnded(id));
            }
        }
        if process.work().is_empty() {
            process.transport().flush();
        }
    }
}

/// Whether an actor may be at several calls at once.
fn works_together(birth: &Birth) -> bool {
    birth.concurrency > 1 || registry::class(&birth.class).is_some_and(|class| class.has_groups)
}

/// Runs many actors.
pub(crate) fn run_many(process: &Arc<Process>, runtime: &Runtime) {
    run(process, runtime, None);
}

fn start_here(process: &Arc<Process>, runtime: &Runtime, birth: Birth) -> Option<Rc<dyn Instance>> {
    let (call, attempt, name) = (Arc::clone(&birth.call), birth.attempt, birth.class.clone());
    let started = match starting(process, birth) {
        Err(failure) => Err(failure),
        Ok(Starting::Plain(code)) => run_plain(&call, code),
        Ok(Starting::Async(code)) => runtime.block_on(run_async(process, &call, None, code)),
    };
    born(process, &Context::new(Arc::clone(process), Some(call)), attempt, &name, started)
}

fn call_here(process: &Arc<Process>, runtime: &Runtime, actor: Option<&Rc<dyn Instance>>, job: Job) {
    let Job { call, attempt, function: method, args, returns, .. } = job;
    let inputs = Inputs::new(Arc::clone(process), args);
    let ctx = Context::new(Arc::clone(process), Some(Arc::clone(&call)));
    let queue = Arc::clone(process);
    let more: More = Rc::new(move || !queue.work().is_empty());
    let outcome = match actor {
        None => Err(not_here()),
        Some(actor) if actor.is_plain(&method) == Some(true) => {
            run_plain(&call, || actor.call_plain(&method, inputs, ctx, &more))
        }
        Some(actor) => {
            let code = Rc::clone(actor).call(method.clone(), inputs, ctx, more);
            runtime.block_on(run_async(process, &call, None, code))
        }
    };
    flush_output();
    finish(process, call.id, attempt, &method, outcome.and_then(|outputs| counted(process, outputs, returns)));
    tell_here(process, runtime, actor, call);
}

/// Says behind the end of a call what must be said there.
fn tell_here(process: &Arc<Process>, runtime: &Runtime, actor: Option<&Rc<dyn Instance>>, call: Arc<Call>) {
    let ctx = Context::new(Arc::clone(process), Some(call));
    if let Some(actor) = actor
        && !actor.tell(&ctx)
    {
        runtime.block_on(Rc::clone(actor).look_and_tell(ctx));
    }
}

/// The same among others.
async fn tell_there(process: &Arc<Process>, actor: Rc<dyn Instance>, call: Arc<Call>) {
    let ctx = Context::new(Arc::clone(process), Some(call));
    if !actor.tell(&ctx) {
        actor.look_and_tell(ctx).await;
    }
}

fn starting(process: &Arc<Process>, birth: Birth) -> Result<Starting, Failure> {
    let Birth { call, class: name, args, checkpoint, held, .. } = birth;
    let class: &Class = registry::class(&name).ok_or_else(|| {
        let message = format!("there is no actor `{name}` in this program; `--list` prints those that there are");
        Failure::new(FailureKind::NotFound, &name, message)
    })?;
    let inputs = |values| Inputs::new(Arc::clone(process), values);
    let checkpoint = checkpoint.map(|checkpoint| inputs(vec![checkpoint]));
    Ok(class.start(inputs(args), Context::new(Arc::clone(process), Some(call)), checkpoint, held))
}

/// Tells the node whether an actor has started.
fn born(
    process: &Arc<Process>,
    ctx: &Context,
    attempt: u32,
    name: &str,
    started: Result<Rc<dyn Instance>, Failure>,
) -> Option<Rc<dyn Instance>> {
    let (outcome, actor): (CallOutcome, _) = match started {
        Ok(actor) => (Outputs::one(ctx, &()), Some(actor)),
        Err(failure) => (Err(failure), None),
    };
    if let (Some(id), true) = (ctx.actor(), actor.as_ref().is_some_and(|actor| actor.is_held())) {
        process.transport().post(ToNode::NoCheckpoint { actor: id, outcome: Ok(()) });
    }
    if let Some(call) = ctx.parent() {
        finish(process, call, attempt, name, outcome);
    }
    actor
}

fn not_here() -> Failure {
    Failure::new(FailureKind::ActorGone, "", "the actor is not in this process")
}

/// What an actor of many gets to do.
enum Letter {
    Call(Job),
    /// This call was taken out of the queue, and its end said.
    Taken(Arc<Call>),
    End,
}

/// Where they come in, as long as the actor lives.
struct Mailbox {
    sender: mpsc::UnboundedSender<Letter>,
    /// What has come in and was not taken out.
    waiting: Rc<Cell<usize>>,
    /// It is to end, and takes no more calls.
    ends: bool,
}

impl Mailbox {
    /// The actor says when it has ended, however often it is asked to.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.ends, true) {
            // Without an actor that takes it nothing is left to end.
            let _ = self.send(Letter::End);
        }
    }

    /// False: nobody takes it.
    fn send(&self, letter: Letter) -> bool {
        self.waiting.set(self.waiting.get() + 1);
        self.sender.send(letter).is_ok()
    }
}

fn run(process: &Arc<Process>, runtime: &Runtime, first: Option<Birth>) {
    let actors = LocalSet::new();
    let work = actors.run_until(async {
        let one = first.is_some();
        let mut actors: HashMap<ActorId, Mailbox> = HashMap::new();
        let mut living = JoinSet::new();
        let mut next = first.map(Work::Start);
        loop {
            let work = match next.take() {
                Some(work) => work,
                None => match process.work().next_async().await {
                    Some(work) => work,
                    None => break,
                },
            };
            match work {
                Work::Start(birth) => {
                    let (mailbox, letters) = mailbox();
                    actors.insert(birth.actor, mailbox);
                    living.spawn_local(live(Arc::clone(process), birth, letters));
                }
                Work::Taken(call) => {
                    let mailbox = call.actor.and_then(|actor| actors.get(&actor));
                    // Without an actor nothing has changed.
                    mailbox.into_iter().for_each(|mailbox| _ = mailbox.send(Letter::Taken(Arc::clone(&call))));
                }
                Work::Run(job) => pass_on(process, &actors, job),
                Work::End(actor) => {
                    match actors.get_mut(&actor) {
                        Some(mailbox) => mailbox.end(),
                        None => process.transport().post(ToNode::ActorEnded(actor)),
                    }
                    if one {
                        break;
                    }
                }
            }
            while let Some(ended) = living.try_join_next() {
                if let Ok(actor) = ended {
                    actors.remove(&actor);
                }
            }
        }
        drop(actors);
        while living.join_next().await.is_some() {}
    });
    runtime.block_on(Flushing { process: Arc::clone(process), future: Box::pin(work) });
}

fn pass_on(process: &Arc<Process>, actors: &HashMap<ActorId, Mailbox>, job: Job) {
    let (call, attempt, method) = (job.call.id, job.attempt, job.function.clone());
    let mailbox = job.actor.and_then(|actor| actors.get(&actor)).filter(|mailbox| !mailbox.ends);
    if mailbox.is_none_or(|mailbox| !mailbox.send(Letter::Call(job))) {
        finish(process, call, attempt, &method, Err(not_here()));
    }
}

/// What comes in for an actor of many, or for one of its groups.
struct Letters {
    letters: mpsc::UnboundedReceiver<Letter>,
    waiting: Rc<Cell<usize>>,
}

fn mailbox() -> (Mailbox, Letters) {
    let (sender, letters) = mpsc::unbounded_channel();
    let waiting = Rc::new(Cell::new(0));
    (Mailbox { sender, waiting: Rc::clone(&waiting), ends: false }, Letters { letters, waiting })
}

impl Letters {
    /// The next one; none when the actor is to end.
    async fn next(&mut self) -> Option<Letter> {
        let letter = self.letters.recv().await.filter(|letter| !matches!(letter, Letter::End));
        self.waiting.set(self.waiting.get().saturating_sub(1));
        letter
    }

    /// Whether there is one more.
    fn more(&self) -> More {
        let waiting = Rc::clone(&self.waiting);
        Rc::new(move || waiting.get() > 0)
    }
}

/// One actor of many, from its start to its end.
async fn live(process: Arc<Process>, birth: Birth, mut letters: Letters) -> ActorId {
    let (id, call, attempt, name) = (birth.actor, Arc::clone(&birth.call), birth.attempt, birth.class.clone());
    let concurrency = birth.concurrency.max(1);
    let started = match starting(&process, birth) {
        Err(failure) => Err(failure),
        Ok(Starting::Plain(code)) => run_plain(&call, code),
        Ok(Starting::Async(code)) => run_async(&process, &call, None, code).await,
    };
    let ctx = Context::new(Arc::clone(&process), Some(call));
    let Some(actor) = born(&process, &ctx, attempt, &name, started) else {
        while let Some(letter) = letters.next().await {
            if let Letter::Call(job) = letter {
                finish(&process, job.call.id, job.attempt, &job.function, Err(not_here()));
            }
        }
        process.transport().post(ToNode::ActorEnded(id));
        return id;
    };
    if actor.groups().is_empty() {
        serve(&process, &actor, &mut letters, concurrency).await;
    } else {
        serve_groups(&process, &actor, letters, concurrency).await;
    }
    drop(actor);
    process.transport().post(ToNode::ActorEnded(id));
    id
}

/// Works on calls, so many at once, until it is to end or no more can come, and they have ended.
async fn serve(process: &Arc<Process>, actor: &Rc<dyn Instance>, letters: &mut Letters, concurrency: u32) {
    let more = letters.more();
    let slots = Arc::new(Semaphore::new(concurrency as usize));
    while let Some(letter) = letters.next().await {
        let job = match letter {
            Letter::Call(job) => job,
            Letter::Taken(call) => {
                tell_there(process, Rc::clone(actor), call).await;
                continue;
            }
            Letter::End => break,
        };
        if concurrency == 1 {
            call_there(process, Rc::clone(actor), job, Rc::clone(&more)).await;
        } else if let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let (process, actor, more) = (Arc::clone(process), Rc::clone(actor), Rc::clone(&more));
            spawn_local(async move {
                call_there(&process, actor, job, more).await;
                drop(slot);
            });
        }
    }
    // All slots are free when all calls have ended.
    drop(slots.acquire_many(concurrency).await);
}

/// The same for each group beside the others, and beside the calls that are in none, which are `concurrency` at once.
async fn serve_groups(process: &Arc<Process>, actor: &Rc<dyn Instance>, mut letters: Letters, concurrency: u32) {
    let (mut mailboxes, mut serving) = (Vec::new(), Vec::new());
    for concurrency in std::iter::once(concurrency).chain(actor.groups().iter().copied()) {
        let (mailbox, mut letters) = mailbox();
        mailboxes.push(mailbox);
        serving.push(async move { serve(process, actor, &mut letters, concurrency).await });
    }
    let sorting = async move {
        while let Some(letter) = letters.next().await {
            match letter {
                Letter::Call(job) => {
                    let group = actor.group(&job.function).map_or(0, |group| group + 1);
                    // Who serves them does until there are no mailboxes.
                    let _ = mailboxes[group].send(Letter::Call(job));
                }
                // It waits for no call of its group.
                Letter::Taken(call) => tell_there(process, Rc::clone(actor), call).await,
                Letter::End => break,
            }
        }
    };
    join(sorting, join_all(serving)).await;
}

async fn call_there(process: &Arc<Process>, actor: Rc<dyn Instance>, job: Job, more: More) {
    let Job { call, attempt, function: method, args, returns, .. } = job;
    let inputs = Inputs::new(Arc::clone(process), args);
    let ctx = Context::new(Arc::clone(process), Some(Arc::clone(&call)));
    let code = Rc::clone(&actor).call(method.clone(), inputs, ctx, more);
    let outcome = run_async(process, &call, None, code).await;
    flush_output();
    finish(process, call.id, attempt, &method, outcome.and_then(|outputs| counted(process, outputs, returns)));
    tell_there(process, actor, call).await;
}
