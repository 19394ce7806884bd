//! Does what the node says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::SqlRequest;
use tandem_actor_protocol::value::Value;
use tandem_actor_protocol::{
    ExecutorId, ExtentId, JobId, Location, MESSAGE_KIND, ObjectId, SpaceLease, WorkerId, encode,
};
use tandem_frames::Frame;
use tandem_node::{Action, Event, ExitCause, Lent, LentAt, RestoreError, SpillFile};
use tracing::{info, warn};

use super::{Desk, Driver, Executor};
use crate::arenas::NoExtent;
use crate::executor::Speaker;
use crate::function::Returned;
use crate::inbox::Inbound;
use crate::outside::News;
use crate::room::{self, LentSource, Room, Ticket};
use crate::sql;

/// How long the end of a driver waits until what was printed before is taken.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

impl Desk {
    pub(super) fn perform(&mut self, action: Action) {
        match action {
            Action::StartExecutor { executor, job, needs } => self.start_executor(executor, job, needs),
            Action::Send { executor, message } => self.send(executor, message),
            Action::StopExecutor { executor, at_once } => self.stop_executor(executor, at_once),
            Action::MakeExtent { job, extent, bytes } => self.make_extent(job, extent, bytes),
            Action::DropExtent { job, extent } => self.arenas.drop_extent(job, extent),
            Action::SpaceGiven { ticket, outcome } => self.space_given(ticket, outcome),
            Action::RunSql { executor, job, request, tables } => self.run_sql(executor, job, request, tables),
            Action::DriverEnded { job, attempt, outcome } => self.driver_ended(job, attempt, outcome),
            Action::FunctionEnded { ticket, outcome } => self.function_ended(ticket, outcome),
            Action::PlaceFree { ticket } => {
                if let Some(reply) = self.tickets.place(ticket) {
                    // Nobody may wait any more.
                    let _ = reply.send(());
                }
            }
            Action::ForgetJob { job } => self.forget(job),
            Action::ReadGiven { ticket, lent } => self.read_given(ticket, lent),
            Action::Spill { job, file, from } => self.spill(job, file, from),
            Action::Restore { job, object, file, into } => self.restore(job, object, file, into),
            Action::DropSpilled { file } => {
                let spill = self.spill.clone();
                self.tasks.spawn_blocking(move || spill.remove(file));
            }
            Action::SendPeer { worker, message } => self.peers.send(worker, &message),
            Action::KnowPeer { worker, address } => self.peers.know(worker, address),
            Action::Fetch { job, object, theirs, from, into } => self.fetch((job, object), theirs, from, into),
            Action::Demand { job, shape, bundle, wanted } => self.tell(News::Demand { job, shape, bundle, wanted }),
            Action::CreateGroup { job, group } => self.tell(News::CreateGroup { job, group }),
            Action::RemoveGroup { job, group } => self.tell(News::RemoveGroup { job, group }),
            Action::ReleaseLease { lease } => self.tell(News::ReleaseLease(lease)),
            Action::ReturnLease { lease } => self.tell(News::ReturnLease(lease)),
            Action::ClaimName { job, spec } => self.tell(News::ClaimName { job, spec }),
            Action::DropName { job, actor } => self.tell(News::DropName { job, actor }),
            Action::Detach { job, spec } => self.tell(News::Detach { job, spec }),
            Action::FindName { executor, request, job, namespace, name } => {
                self.tell(News::FindName { executor, request, job, namespace, name });
            }
            Action::Leave { may } => self.tell(News::Leave { may }),
            Action::Note { job, text } => self.tell(News::Note { job, text }),
        }
    }

    fn tell(&self, news: News) {
        self.surroundings.outside.tell(news);
    }

    fn send(&mut self, executor: ExecutorId, mut message: ToExecutor) {
        let Some(to) = self.executors.get(&executor) else { return };
        match &mut message {
            ToExecutor::Welcome(welcome) => {
                welcome.job_name = to.job_name.get().cloned().unwrap_or_default();
                to.tell(&message);
            }
            ToExecutor::Extent { extent, writable, .. } => {
                let (extent, writable) = (*extent, *writable);
                self.show(to, extent, writable, &message);
            }
            _ => to.tell(&message),
        }
    }

    /// Sends an extent's descriptor along.
    fn show(&self, to: &Executor, extent: ExtentId, writable: bool, message: &ToExecutor) {
        match self.arenas.descriptor(to.job, extent, writable) {
            Ok(descriptor) => to.push(message, Frame { descriptors: vec![descriptor], ..frame(message) }),
            Err(error) => {
                warn!(job = %to.job, %extent, %error, "an extent cannot be shown to an executor");
                to.orders.kill(ExitCause::Protocol(format!("{extent} cannot be shown to it: {error}")));
            }
        }
    }

    fn stop_executor(&mut self, executor: ExecutorId, at_once: bool) {
        let Some(to) = self.executors.get(&executor) else { return };
        if at_once {
            to.orders.kill(ExitCause::Asked);
        } else {
            to.tell(&ToExecutor::Shutdown);
            to.orders.end();
        }
    }

    fn make_extent(&mut self, job: JobId, extent: ExtentId, bytes: u64) {
        self.begin(job);
        if let Err(error) = self.arenas.make(job, extent, bytes) {
            warn!(%job, %extent, bytes, %error, "no memory for an extent");
            self.followups.push_back(Event::ExtentFailed { job, extent, reason: error.to_string() }.into());
        }
    }

    fn space_given(&mut self, ticket: u64, outcome: Result<SpaceLease, Failure>) {
        let guard = Ticket::new(ticket, self.access.clone());
        let Some((job, reply)) = self.tickets.room(ticket) else { return };
        let outcome = outcome.and_then(|lease| {
            let file = self.arenas.extent(job, lease.extent).map_err(|error| store_failure(&error))?;
            Ok(Room::new(guard, Arc::clone(file), lease))
        });
        // Nobody may wait any more; the room is given back then.
        let _ = reply.send(outcome);
    }

    fn read_given(&mut self, ticket: u64, lent: Option<Lent>) {
        let Some((job, reply)) = self.tickets.read(ticket) else { return };
        let ticket = lent.is_some().then(|| Ticket::new(ticket, self.access.clone()));
        let lent = lent.zip(ticket).and_then(|(Lent { copy, at }, ticket)| {
            let source = match at {
                LentAt::Arena(location) => {
                    let file = Arc::clone(self.arenas.extent(job, location.extent).ok()?);
                    LentSource::Arena { file, location }
                }
                LentAt::Disk { file, length } => LentSource::Disk { file, length },
            };
            Some(room::Lent { copy, source, ticket })
        });
        // As above.
        let _ = reply.send(lent);
    }

    fn spill(&mut self, job: JobId, file: SpillFile, from: Location) {
        match self.arenas.extent(job, from.extent) {
            Ok(extent) => {
                let (access, writing) = (self.access.clone(), self.spill.clone().write(file, Arc::clone(extent), from));
                self.tasks.spawn(async move {
                    let outcome = writing.await;
                    access.send(Inbound::Event(Event::Spilled { job, file, outcome }));
                });
            }
            Err(error) => {
                self.followups.push_back(Event::Spilled { job, file, outcome: Err(error.to_string()) }.into());
            }
        }
    }

    fn restore(&mut self, job: JobId, object: ObjectId, file: SpillFile, into: Location) {
        match self.arenas.extent(job, into.extent) {
            Ok(extent) => {
                let (access, reading) = (self.access.clone(), self.spill.clone().read(file, Arc::clone(extent), into));
                self.tasks.spawn(async move {
                    let outcome = reading.await;
                    access.send(Inbound::Event(Event::Restored { job, object, outcome }));
                });
            }
            Err(error) => {
                let outcome = Err(RestoreError::NoMemory(error.to_string()));
                self.followups.push_back(Event::Restored { job, object, outcome }.into());
            }
        }
    }

    fn fetch(
        &mut self,
        (job, object): (JobId, ObjectId),
        theirs: Option<(JobId, ObjectId)>,
        from: WorkerId,
        into: Location,
    ) {
        match self.arenas.extent(job, into.extent) {
            Ok(file) => {
                let theirs = theirs.unwrap_or((job, object));
                let fetching = self.peers.fetch((job, object), theirs, from, Arc::clone(file), into);
                _ = self.tasks.spawn_on(fetching, &self.movers);
            }
            Err(error) => {
                self.followups.push_back(Event::Fetched { job, object, outcome: Err(error.to_string()) }.into());
            }
        }
    }

    fn function_ended(&mut self, ticket: u64, outcome: Result<Vec<Value>, Failure>) {
        let guard = Ticket::new(ticket, self.access.clone());
        let Some((job, reply)) = self.tickets.call(ticket) else { return };
        let outcome = outcome.and_then(|values| {
            let sources = self.arenas.sources(job, values).map_err(|error| store_failure(&error))?;
            Ok(Returned::new(sources, guard))
        });
        // As above.
        let _ = reply.send(outcome);
    }

    fn driver_ended(&mut self, job: JobId, attempt: u32, outcome: Result<(), Failure>) {
        if self.drivers.get(&job).is_some_and(|driver| driver.attempt == attempt)
            && let Some(Driver { reply, .. }) = self.drivers.remove(&job)
        {
            let of_job = self.executors.values().filter(|executor| executor.job == job);
            let speakers: Vec<Arc<Speaker>> = of_job.map(|executor| Arc::clone(&executor.speaker)).collect();
            self.tasks.spawn(async move {
                let flushed = async {
                    for speaker in speakers {
                        speaker.flushed().await
                    }
                };
                if tokio::time::timeout(FLUSH_TIMEOUT, flushed).await.is_err() {
                    info!(%job, "the driver has ended before all that was printed was taken");
                }
                // Whoever launched it may not want to know any more.
                let _ = reply.send(outcome);
            });
        }
    }

    fn run_sql(&mut self, executor: ExecutorId, job: JobId, request: SqlRequest, tables: Vec<(String, Vec<Value>)>) {
        let number = request.request;
        let sources = tables.into_iter().map(|(name, values)| Ok((name, self.arenas.sources(job, values)?)));
        match sources.collect::<Result<_, NoExtent>>() {
            Ok(tables) => {
                let outside = Arc::clone(&self.surroundings.outside);
                let access = self.access.clone();
                let running = sql::run(outside, access, sql::Statement { executor, job, request, tables });
                self.tasks.spawn_on(running, &self.movers);
            }
            Err(error) => {
                let outcome = Err(error.to_string());
                self.followups.push_back(Event::SqlDone { executor, request: number, outcome }.into());
            }
        }
    }

    fn forget(&mut self, job: JobId) {
        info!(%job, "nothing of the job is left here");
        self.arenas.forget(job);
        self.drivers.remove(&job);
        let surroundings = Arc::clone(&self.surroundings);
        self.tasks.spawn_blocking(move || surroundings.folders.remove(job));
        self.tell(News::Forgotten(job));
        self.followups.extend(self.jobs.forget(job));
    }

    pub(super) fn begin(&mut self, job: JobId) {
        if self.jobs.begin(job) {
            self.tell(News::Began(job));
        }
    }
}

impl Executor {
    pub(super) fn tell(&self, message: &ToExecutor) {
        self.push(message, frame(message));
    }

    fn push(&self, message: &ToExecutor, frame: Frame) {
        self.speaker.sent(message);
        self.outbox.push(frame);
    }
}

fn frame(message: &ToExecutor) -> Frame {
    Frame::new(MESSAGE_KIND, Bytes::from(encode(message)))
}

fn store_failure(error: &impl std::fmt::Display) -> Failure {
    Failure::new(FailureKind::StoreFull, "", error.to_string())
}
