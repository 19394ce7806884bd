//! Starts what the node takes for a process: one of this worker, or a client that stands for it.

use std::sync::Arc;

use tandem_actor_protocol::{ExecutorId, JobId, link_limits};
use tandem_frames::{Link, pair};
use tandem_node::{DRIVER, Event, ExecutorNeeds};

use super::{Desk, Executor};
use crate::executor::{Orders, Speaker, Supervisor, outbox};
use crate::guest::{self, Guest};
use crate::inbox::Seat;

impl Desk {
    pub(super) fn start_executor(&mut self, executor: ExecutorId, job: JobId, needs: ExecutorNeeds) {
        self.begin(job);
        let linked = pair().and_then(|(own, child_end)| Ok((Link::start(own, link_limits())?, child_end)));
        let (link, child_end) = match linked {
            Ok(linked) => linked,
            Err(error) => {
                let outcome = Err(format!("no link to a new process: {error}"));
                return self.followups.push_back(Event::ExecutorStarted { executor, outcome }.into());
            }
        };
        let seat = if needs.purpose == DRIVER { self.take_seat(job) } else { Seat::Process };
        let (orders, ordered) = Orders::channel();
        let config = &self.surroundings.config;
        let stuck_grace = if let Seat::Client(_) = seat { guest::STUCK_GRACE } else { config.stuck_grace };
        let (outbox, pump) = outbox(link.sender, config.queue_bytes, stuck_grace, orders.clone());
        let (speaker, job_name) = (Arc::new(Speaker::default()), Arc::default());
        let known = Executor {
            job,
            outbox,
            speaker: Arc::clone(&speaker),
            orders: orders.clone(),
            job_name: Arc::clone(&job_name),
        };
        self.executors.insert(executor, known);
        let surroundings = Arc::clone(&self.surroundings);
        let (frames, writer) = (link.receiver, link.writer);
        match seat {
            Seat::Process => {
                let child_end = Some(child_end);
                let supervisor = Supervisor {
                    executor,
                    job,
                    needs,
                    surroundings,
                    child_end,
                    frames,
                    writer,
                    pump,
                    speaker,
                    orders,
                    ordered,
                    job_name,
                };
                self.tasks.spawn(supervisor.run());
            }
            Seat::Client(visit) => {
                let visit = *visit;
                let guest = Guest {
                    executor,
                    job,
                    surroundings,
                    visit,
                    child_end,
                    frames,
                    writer,
                    pump,
                    speaker,
                    ordered,
                    job_name,
                };
                self.tasks.spawn(guest.run());
            }
            Seat::Taken => {
                let outcome = Err("its client is gone".to_owned());
                self.followups.push_back(Event::ExecutorStarted { executor, outcome }.into());
                self.executors.remove(&executor);
            }
        }
    }

    /// Where the driver of a job is to run. A client is there once.
    fn take_seat(&mut self, job: JobId) -> Seat {
        let Some(driver) = self.drivers.get_mut(&job) else { return Seat::Process };
        match driver.seat {
            Seat::Process => Seat::Process,
            Seat::Client(_) | Seat::Taken => std::mem::replace(&mut driver.seat, Seat::Taken),
        }
    }
}
