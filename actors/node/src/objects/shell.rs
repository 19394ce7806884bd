//! What the shell itself has of a job's memory: room it writes into, objects it reads, statements it runs.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::SqlRequest;
use tandem_actor_protocol::value::{Body, Value};
use tandem_actor_protocol::{CallId, ExecutorId, ObjectId, SpaceLease};
use tandem_arena::Holder;

use super::hold::NO_INDEX;
use super::{FetchWaiter, Object, ObjectState, Refused, SpaceWaiter, Waiter};
use crate::action::{Action, Lent, LentAt, SpillFile};
use crate::context::Context;
use crate::job::Job;

/// What a ticket of the shell stands for.
#[derive(Debug)]
pub(crate) enum Ticket {
    /// Room, if it was given already.
    Space(Option<SpaceLease>),
    /// What it reads, by its name in the arena.
    Read(ObjectId),
    /// An object that it reads from this file.
    ReadFile { object: ObjectId, file: SpillFile },
    /// A function that runs for it, later its results.
    Function {
        call: CallId,
        returns: u32,
        /// Names of results that are in the arena.
        pins: Vec<ObjectId>,
    },
}

/// A statement that waits for its tables, or runs.
#[derive(Debug)]
pub(crate) struct Sql {
    executor: ExecutorId,
    request: SqlRequest,
    missing: usize,
    /// Names of what it reads, while it runs.
    pins: Vec<ObjectId>,
}

impl Job {
    pub(crate) fn shell_wants_space(&mut self, cx: &mut Context<'_>, ticket: u64, bytes: u64) {
        cx.shared.tickets.insert(ticket, self.id);
        self.tickets.insert(ticket, Ticket::Space(None));
        self.want_space(cx, bytes, SpaceWaiter::Shell(ticket));
    }

    pub(crate) fn give_shell_space(&mut self, cx: &mut Context<'_>, ticket: u64, outcome: Result<SpaceLease, Failure>) {
        match &outcome {
            Ok(lease) => self.tickets.insert(ticket, Ticket::Space(Some(*lease))),
            Err(_) => {
                cx.shared.tickets.remove(&ticket);
                self.tickets.remove(&ticket)
            }
        };
        cx.act(Action::SpaceGiven { ticket, outcome });
    }

    pub(crate) fn shell_reads(&mut self, cx: &mut Context<'_>, ticket: u64, object: ObjectId) {
        let found = if self.is_running() { self.lend_to_shell(object) } else { None };
        let lent = found.map(|(stands_for, lent)| {
            cx.shared.tickets.insert(ticket, self.id);
            self.tickets.insert(ticket, stands_for);
            lent
        });
        cx.act(Action::ReadGiven { ticket, lent });
    }

    /// Keeps an object where it is, for a ticket. From disk it is read as it lies there.
    fn lend_to_shell(&mut self, object: ObjectId) -> Option<(Ticket, Lent)> {
        let stored = self.objects.get(&object)?.stored()?;
        let (length, name, file) = (stored.bytes(), stored.name(), stored.file());
        if let Some(copy) = name {
            let location = self.arena.pin(Holder::Worker, copy).ok()?;
            return Some((Ticket::Read(copy), Lent { copy, at: LentAt::Arena(location) }));
        }
        let file = file?;
        let copy = self.hold_file(file)?;
        Some((Ticket::ReadFile { object, file }, Lent { copy, at: LentAt::Disk { file, length } }))
    }

    /// What a ticket stands for cannot be read from its file.
    pub(crate) fn shell_cannot_read(&mut self, cx: &mut Context<'_>, ticket: u64, why: &str) {
        if let Some(&Ticket::ReadFile { object, file }) = self.tickets.get(&ticket) {
            self.lost_on_disk(cx, object, file, why);
        }
    }

    /// The shell is done with what a ticket stands for.
    pub(crate) fn shell_dropped(&mut self, cx: &mut Context<'_>, ticket: u64) {
        cx.shared.tickets.remove(&ticket);
        match self.tickets.remove(&ticket) {
            Some(Ticket::Space(Some(lease))) => {
                // What was published of it stays.
                let _ = self.arena.give_back(Holder::Worker, lease);
                self.space.freed = true;
            }
            Some(Ticket::Space(None)) => self.forget_space(SpaceWaiter::Shell(ticket)),
            Some(Ticket::Read(name)) => self.unpin(Holder::Worker, name),
            Some(Ticket::ReadFile { file, .. }) => self.let_go_file(cx, file),
            Some(Ticket::Function { call, returns, pins }) => {
                pins.into_iter().for_each(|name| self.unpin(Holder::Worker, name));
                self.drop_kept((0..returns).map(|index| call.object(index)).collect());
            }
            None => {}
        }
    }

    /// A process wants a statement run, which may read objects.
    pub(crate) fn sql(&mut self, cx: &mut Context<'_>, executor: ExecutorId, request: SqlRequest) {
        self.next_sql += 1;
        let id = self.next_sql;
        let objects = table_objects(&request);
        objects.iter().for_each(|object| self.hold_use(cx, *object));
        self.sql.insert(id, Sql { executor, request, missing: objects.len() + 1, pins: Vec::new() });
        for object in objects {
            self.table_again(cx, id, object);
        }
        self.table_here(cx, id);
    }

    /// Looks where the object of a table is, and gets it.
    pub(crate) fn table_again(&mut self, cx: &mut Context<'_>, id: u64, object: ObjectId) {
        if !self.sql.contains_key(&id) {
            return;
        }
        match self.objects.get(&object).map(|record| &record.state) {
            Some(ObjectState::Pending) => self.wait_for(object, Waiter::Sql(id)),
            Some(ObjectState::Ready(stored)) if stored.is_at_hand() => self.table_here(cx, id),
            Some(ObjectState::Ready(_)) => self.fetch_for(cx, object, FetchWaiter::Sql(id)),
            Some(ObjectState::Failed(failure)) => {
                let failure = Failure::clone(failure);
                self.sql_failed(cx, id, failure);
            }
            None => {}
        }
    }

    /// One more object of a table is here; with the last one the statement runs.
    pub(crate) fn table_here(&mut self, cx: &mut Context<'_>, id: u64) {
        let Some(sql) = self.sql.get_mut(&id) else { return };
        sql.missing -= 1;
        if sql.missing == 0 {
            self.run_sql(cx, id);
        }
    }

    /// Runs a statement whose tables are here, unless some went to disk meanwhile.
    pub(crate) fn run_sql(&mut self, cx: &mut Context<'_>, id: u64) {
        let Some(sql) = self.sql.get_mut(&id) else { return };
        let objects = table_objects(&sql.request);
        sql.missing = 1;
        if self.away(&objects) {
            return self.gather(FetchWaiter::Sql(id), objects);
        }
        let names: Vec<ObjectId> = objects.iter().filter_map(|object| self.arena_name(*object)).collect();
        let pins = self.keep_names(names);
        let Some(sql) = self.sql.get_mut(&id) else { return };
        sql.pins = pins;
        let (executor, request) = (sql.executor, sql.request.clone());
        let value = |object: &ObjectId| self.own_value(*object);
        let tables = request.object_tables.iter();
        let tables = tables.map(|(name, objects)| (name.clone(), objects.iter().filter_map(value).collect())).collect();
        cx.act(Action::RunSql { executor, job: self.id, request, tables });
    }

    pub(crate) fn sql_failed(&mut self, cx: &mut Context<'_>, id: u64, failure: Failure) {
        let Some(sql) = self.sql.remove(&id) else { return };
        self.let_go_tables(&sql);
        if self.executors.contains_key(&sql.executor) {
            let request = sql.request.request;
            cx.send(sql.executor, ToExecutor::SqlDone { request, outcome: Err(failure) });
        }
    }

    /// The rows are there.
    pub(crate) fn sql_done(
        &mut self,
        cx: &mut Context<'_>,
        executor: ExecutorId,
        request: u32,
        outcome: Result<Vec<(u64, Value)>, String>,
    ) {
        let asked = |sql: &Sql| sql.executor == executor && sql.request.request == request;
        let Some(id) = self.sql.iter().find(|(_, sql)| asked(sql)).map(|(id, _)| *id) else { return };
        let rows = match outcome {
            Ok(rows) => rows,
            Err(why) => {
                return self.sql_failed(cx, id, Failure::new(FailureKind::Returned, "sql", why));
            }
        };
        if let Some(sql) = self.sql.remove(&id) {
            self.let_go_tables(&sql);
        }
        let mut objects = Vec::with_capacity(rows.len());
        for (_, value) in rows {
            let object = cx.new_objects(1);
            self.objects.insert(object, Object::new(ObjectState::Pending, NO_INDEX));
            self.hold_by_process(cx, executor, object);
            self.let_go(object);
            match self.take_value(Holder::Worker, value) {
                Ok(stored) => self.make_object(cx, object, stored),
                Err(Refused::Broken(why) | Refused::Full(why)) => {
                    self.break_object(object, Failure::new(FailureKind::StoreFull, "sql", why).into());
                }
            }
            objects.push(object);
        }
        if self.executors.contains_key(&executor) {
            cx.send(executor, ToExecutor::SqlDone { request, outcome: Ok(objects) });
        }
    }

    /// A process that asked for statements is gone.
    pub(crate) fn forget_sql_of(&mut self, executor: ExecutorId) {
        let of_it: Vec<u64> = self.sql.iter().filter(|(_, sql)| sql.executor == executor).map(|(id, _)| *id).collect();
        for id in of_it {
            if let Some(sql) = self.sql.remove(&id) {
                self.let_go_tables(&sql);
            }
        }
    }

    fn let_go_tables(&mut self, sql: &Sql) {
        sql.pins.iter().for_each(|name| self.unpin(Holder::Worker, *name));
        table_objects(&sql.request).into_iter().for_each(|object| self.drop_use(object));
    }

    /// Keeps what has these names where it is, until each is unpinned once.
    pub(crate) fn keep_names(&mut self, mut names: Vec<ObjectId>) -> Vec<ObjectId> {
        names.retain(|name| self.arena.pin(Holder::Worker, *name).is_ok());
        names
    }

    /// A value that this worker itself reads, in place if it is large.
    pub(crate) fn own_value(&self, object: ObjectId) -> Option<Value> {
        let stored = self.objects.get(&object)?.stored()?;
        let body = match &stored.body {
            super::StoredBody::Inline { format, bytes } => Body::Inline { format: *format, bytes: bytes.clone() },
            super::StoredBody::Large { format, local, .. } => {
                let object = (*local)?;
                Body::Shared { format: *format, object, location: self.arena.location(object)? }
            }
        };
        Some(Value { body, refs: stored.refs.to_vec() })
    }
}

fn table_objects(request: &SqlRequest) -> Vec<ObjectId> {
    request.object_tables.iter().flat_map(|(_, objects)| objects.iter().copied()).collect()
}
