//! Starts processes, gives them something to do, and ends those that have nothing to do.

use std::collections::BTreeSet;

use tandem_actor_protocol::executor::{Role, ToExecutor, Welcome};
use tandem_actor_protocol::node::Hello;
use tandem_actor_protocol::{ExecutorId, PROTOCOL};

use super::{ClassId, Driver, Executor, ExecutorState, Fate, Purpose};
use crate::action::{Action, ExecutorNeeds};
use crate::context::Context;
use crate::host::GroupId;
use crate::job::Job;
use crate::timers::Timer;

/// Processes for tasks that can take each other's place.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) memory_bytes: u64,
    pub(crate) gpus: Vec<u32>,
    /// The ones with the lowest number are used first, so that the others can end.
    pub(crate) idle: BTreeSet<ExecutorId>,
    pub(crate) starting: usize,
    pub(crate) live: usize,
    /// How many in a row ended before they said anything.
    pub(crate) failed: u32,
    pub(crate) groups: Vec<GroupId>,
}

impl Job {
    pub(crate) fn class_for(&mut self, memory_bytes: u64, gpus: &[u32]) -> ClassId {
        let known = self.classes.iter().position(|class| class.memory_bytes == memory_bytes && class.gpus == gpus);
        let index = known.unwrap_or_else(|| {
            self.classes.push(Class {
                memory_bytes,
                gpus: gpus.to_vec(),
                idle: BTreeSet::new(),
                starting: 0,
                live: 0,
                failed: 0,
                groups: Vec::new(),
            });
            self.classes.len() - 1
        });
        ClassId(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(crate) fn start_executor(
        &mut self,
        cx: &mut Context<'_>,
        purpose: Purpose,
        needs: ExecutorNeeds,
    ) -> ExecutorId {
        let executor = cx.new_executor(self.id);
        self.executors.insert(executor, Executor::new(purpose, needs.purpose.clone(), cx.now));
        cx.act(Action::StartExecutor { executor, job: self.id, needs });
        executor
    }

    /// Starts what the places of a class could use.
    pub(crate) fn fill_class(&mut self, cx: &mut Context<'_>, id: ClassId) {
        let class = &self.classes[id.0 as usize];
        let usable = |group: &GroupId| self.work_of(*group).min(self.groups[group.0 as usize].free() as usize);
        let unmet: usize = class.groups.iter().map(usable).sum();
        let room = cx.config.max_task_executors.saturating_sub(self.task_executors);
        let start = unmet.saturating_sub(class.idle.len() + class.starting).min(room);
        for _ in 0..start {
            let class = &mut self.classes[id.0 as usize];
            class.starting += 1;
            class.live += 1;
            self.task_executors += 1;
            let (memory_bytes, gpus) = (class.memory_bytes, class.gpus.clone());
            let needs = ExecutorNeeds { memory_bytes, gpus, purpose: "tasks".to_owned(), ..ExecutorNeeds::default() };
            self.start_executor(cx, Purpose::Tasks(id), needs);
        }
    }

    /// A process has started.
    pub(crate) fn hello(&mut self, cx: &mut Context<'_>, executor: ExecutorId, hello: Hello) {
        let Some(process) = self.executors.get(&executor) else { return };
        let purpose = process.purpose;
        if process.state != ExecutorState::Starting {
            return self.broke_protocol(cx, executor, "it said hello twice");
        }
        if hello.protocol > PROTOCOL || hello.protocol + 1 < PROTOCOL {
            let why = format!("it speaks version {} of the protocol, this worker {PROTOCOL}", hello.protocol);
            return self.broke_protocol(cx, executor, &why);
        }
        let Some(number) = cx.new_process() else {
            return self.broke_protocol(cx, executor, "this worker has no more numbers for processes: start it again");
        };
        if let Some(process) = self.executors.get_mut(&executor) {
            process.said_hello(hello.protocol, number);
            process.pid = process.pid.or(Some(hello.pid));
        }
        let role = match purpose {
            Purpose::Driver => Role::Driver { args: self.driver.as_ref().map_or(Vec::new(), Driver::args) },
            Purpose::Tasks(_) => Role::Tasks,
            Purpose::Actor(_) => Role::Actor,
            Purpose::Light => Role::LightActors,
        };
        let welcome = Welcome {
            protocol: PROTOCOL,
            job: self.id,
            job_name: String::new(),
            worker: self.worker,
            worker_name: cx.config.worker_name.clone(),
            process: number,
            role,
        };
        cx.send(executor, ToExecutor::Welcome(welcome));
        match purpose {
            Purpose::Driver => {}
            Purpose::Tasks(class) => {
                let entry = &mut self.classes[class.0 as usize];
                entry.starting = entry.starting.saturating_sub(1);
                entry.failed = 0;
                self.process_idle(cx, executor);
            }
            Purpose::Actor(actor) => self.actor_process_ready(cx, executor, actor),
            Purpose::Light => self.light_process_ready(cx, executor),
        }
    }

    /// A process for tasks has nothing to do.
    pub(crate) fn process_idle(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        process.group = None;
        let Purpose::Tasks(class) = process.purpose else { return };
        if process.fate.is_some() {
            return;
        }
        process.idle_since = cx.now;
        if !std::mem::replace(&mut process.idle_timer, true) {
            cx.timer(cx.config.executor_idle_ms, self.id, Timer::ExecutorIdle(executor));
        }
        let entry = &mut self.classes[class.0 as usize];
        entry.idle.insert(executor);
        for group in entry.groups.clone() {
            if self.work_of(group) > 0 {
                self.dirty.group(group);
            }
        }
    }

    /// A process may have been idle for long enough to be ended. The last one stays.
    pub(crate) fn executor_idle(&mut self, cx: &mut Context<'_>, executor: ExecutorId) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        process.idle_timer = false;
        let Purpose::Tasks(class) = process.purpose else { return };
        if !self.classes[class.0 as usize].idle.contains(&executor) {
            return;
        }
        let since = process.idle_since;
        if since.after(cx.config.executor_idle_ms) > cx.now {
            process.idle_timer = true;
            let at = since.after(cx.config.executor_idle_ms);
            return cx.shared.timers.set(at, self.id, Timer::ExecutorIdle(executor));
        }
        if self.task_executors > 1 {
            self.stop_executor(cx, executor, Fate::Idle, false);
        }
    }

    /// Ends a process.
    pub(crate) fn stop_executor(&mut self, cx: &mut Context<'_>, executor: ExecutorId, fate: Fate, at_once: bool) {
        let Some(process) = self.executors.get_mut(&executor) else { return };
        if process.fate.is_none() {
            process.fate = Some(fate);
            if let Purpose::Tasks(class) = process.purpose {
                self.classes[class.0 as usize].idle.remove(&executor);
            }
        } else if !at_once {
            return;
        }
        if !at_once && process.process.is_some() {
            cx.send(executor, ToExecutor::Shutdown);
        }
        cx.act(Action::StopExecutor { executor, at_once });
    }

    /// A process lies or does not understand: it ends, whatever it does.
    pub(crate) fn broke_protocol(&mut self, cx: &mut Context<'_>, executor: ExecutorId, why: &str) {
        self.stop_executor(cx, executor, Fate::Broken(why.to_owned()), true);
    }
}
