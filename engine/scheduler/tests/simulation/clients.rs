//! What clients do: submit, follow, stop, read results, die.

use tandem_proto::JobId;
use tandem_scheduler::{Event, Timestamp};

use crate::plans::random_script;
use crate::world::{Client, Happening, SimJob, World};

impl World {
    pub(crate) fn submit(&mut self) -> Result<(), String> {
        if self.cluster.is_none() {
            self.plan(500, Happening::Submit);
            return Ok(());
        }
        let script = random_script(&mut self.rng);
        let id = JobId(self.rng.next());
        let plan = script.plan.clone();
        if plan.journaled {
            self.journal.accept(id, plan.clone(), Timestamp(self.now), self.term);
        }
        if let Some(delay) = script.stop_after_ms {
            self.plan(delay, Happening::Stop { job: id });
        }
        if let Some(delay) = script.client_dies_after_ms {
            self.plan(delay, Happening::ClientDies { job: id });
        }
        let follows = plan.attached || self.rng.chance(50);
        let job = SimJob {
            script,
            client: if follows { Client::Absent } else { Client::Dead },
            outcome: None,
            vanished: false,
            forgotten: false,
            published: None,
            commit_failed: false,
            met_fatal: false,
            stop_asked: false,
            was_alone: false,
        };
        self.jobs.insert(id, job);
        if follows {
            let delay = self.rng.range(1..100);
            self.plan(delay, Happening::Follow { job: id });
        }
        self.feed(Event::JobAccepted { job: id, plan })
    }

    pub(crate) fn stop_asked(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(&job).filter(|_| self.cluster.is_some()) {
            job.stop_asked = true;
        }
    }

    pub(crate) fn follow(&mut self, id: JobId) -> Result<(), String> {
        let term = self.term;
        let Some(job) = self.jobs.get_mut(&id).filter(|_| self.cluster.is_some()) else { return Ok(()) };
        if job.client != Client::Absent {
            return Ok(());
        }
        job.client = Client::Following { term };
        self.feed(Event::FollowerJoined { job: id })?;
        self.job_changed(id);
        Ok(())
    }

    pub(crate) fn client_dies(&mut self, id: JobId) -> Result<(), String> {
        let Some(job) = self.jobs.get_mut(&id) else { return Ok(()) };
        job.was_alone = true;
        match std::mem::replace(&mut job.client, Client::Dead) {
            Client::Following { term } if term == self.term => self.feed(Event::FollowerLeft { job: id }),
            _ => Ok(()),
        }
    }

    /// A follower sees the job's status.
    pub(crate) fn job_changed(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        let has_result = job.script.plan.result_stage().is_some();
        if matches!(job.client, Client::Following { .. }) && has_result && job.outcome.is_some() {
            let delay = self.rng.range(1..300);
            self.plan(delay, Happening::ReadResult { job: id });
        }
    }

    /// Reads the whole result, or waits for the rest of it.
    pub(crate) fn read_result(&mut self, id: JobId) -> Result<(), String> {
        let Some(view) = self.cluster.as_ref().and_then(|cluster| cluster.job(id)) else { return Ok(()) };
        let expected =
            view.plan.result_stage().and_then(|stage| view.plan.stage(stage)).map_or(0, |stage| stage.partitions);
        let readable = view.results.iter().filter(|result| {
            let worker = self.workers.get(&result.worker);
            worker.is_some_and(|worker| worker.paused_until <= self.now && worker.cut_until <= self.now)
        });
        if readable.count() as u32 == expected { self.feed(Event::ResultRead { job: id }) } else { Ok(()) }
    }
}
