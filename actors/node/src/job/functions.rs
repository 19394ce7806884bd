//! Functions that stages which run here want run: each brings a place along, or runs in that of the task that calls it.

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::value::{Body, Value};
use tandem_arena::Holder;

use super::Job;
use crate::action::Action;
use crate::context::Context;
use crate::host::{Group, GroupId, Guest, Hosted, Phase, Source};
use crate::objects::{NO_INDEX, Object, ObjectState, Refused, Ticket};
use crate::tasks::cancelled;

/// What a stage wants run.
#[derive(Debug)]
pub(crate) struct FunctionWanted {
    pub(crate) ticket: u64,
    /// The place of the task that calls it, if that has one.
    pub(crate) place: Option<u64>,
    pub(crate) function: String,
    pub(crate) args: Vec<Value>,
    pub(crate) returns: u32,
}

impl Job {
    /// A stage wants a function run.
    pub(crate) fn run_function(&mut self, cx: &mut Context<'_>, wanted: FunctionWanted) {
        let FunctionWanted { ticket, place, function, args, returns } = wanted;
        let group = match place {
            None => self.function_group(),
            Some(place) => match self.stage_places.get(&place) {
                Some(place) if !place.dropped => place.group,
                Some(_) | None => {
                    let outcome = Err(cancelled(&function));
                    return cx.act(Action::FunctionEnded { ticket, outcome });
                }
            },
        };
        let call = cx.new_call(returns);
        let args = match args.into_iter().map(|value| self.function_arg(cx, value)).collect::<Result<Vec<_>, _>>() {
            Ok(args) => args,
            Err(Refused::Broken(why) | Refused::Full(why)) => {
                let outcome = Err(Failure::new(FailureKind::StoreFull, &function, why));
                return cx.act(Action::FunctionEnded { ticket, outcome });
            }
        };
        cx.shared.tickets.insert(ticket, self.id);
        self.tickets.insert(ticket, Ticket::Function { call, returns, pins: Vec::new() });
        if place.is_none() {
            self.groups[group.0 as usize].own += 1;
        }
        let guest = Guest {
            function: self.intern(&function),
            args: args.into(),
            returns,
            options: None,
            cancelled: false,
            spared: false,
            wanted: None,
        };
        let source = Source::Shell { ticket, has_place: place.is_none() };
        let hosted = Hosted { source, attempt: 0, group, phase: Phase::Inbox, guest: Some(Box::new(guest)) };
        self.host_task(cx, call, hosted);
    }

    /// A large argument, which the shell has built, becomes an object that is held as long as the function is here.
    fn function_arg(&mut self, cx: &mut Context<'_>, value: Value) -> Result<Arg, Refused> {
        if matches!(value.body, Body::Inline { .. }) {
            return Ok(Arg::Value(value));
        }
        let stored = self.take_value(Holder::Worker, value)?;
        let object = cx.new_objects(1);
        let mut record = Object::new(ObjectState::Pending, NO_INDEX);
        record.guests = 1;
        self.objects.insert(object, record);
        self.make_object(cx, object, stored);
        Ok(Arg::Object(object))
    }

    /// Where functions run that bring their places along.
    fn function_group(&mut self) -> GroupId {
        let known = self.groups.iter().position(|group| group.shape.is_none() && !group.of_place);
        known.map(GroupId::at).unwrap_or_else(|| {
            let class = self.class_for(0, &[]);
            self.add_group(Group::new(None, Vec::new(), class))
        })
    }

    /// Nobody waits for a function any more.
    pub(crate) fn function_cancelled(&mut self, cx: &mut Context<'_>, ticket: u64) {
        let Some(Ticket::Function { call, returns, pins }) = self.tickets.remove(&ticket) else { return };
        cx.shared.tickets.remove(&ticket);
        pins.into_iter().for_each(|name| self.unpin(Holder::Worker, name));
        // Its place stays with it until it has ended.
        if self.hosted.contains_key(&call) {
            self.cancel_here(cx, call, true);
        } else {
            self.drop_kept((0..returns).map(|index| call.object(index)).collect());
        }
    }
}
