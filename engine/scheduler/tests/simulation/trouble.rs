//! What goes wrong, until it stops going wrong.

use tandem_proto::WorkerId;
use tandem_scheduler::Event;

use crate::world::{Happening, World};

impl World {
    pub(crate) fn plan_fault(&mut self) {
        let delay = self.rng.range(200..3_000);
        self.plan(delay, Happening::Fault);
    }

    pub(crate) fn fault(&mut self) -> Result<(), String> {
        if !self.faults_last() {
            self.keep_some_workers();
            return Ok(());
        }
        self.plan_fault();
        let ids: Vec<_> = self.workers.keys().copied().collect();
        let Some(id) = self.rng.pick(&ids) else {
            self.join();
            return Ok(());
        };
        match self.rng.range(0..11) {
            0..=2 => self.kill(id),
            3 => self.pause(id),
            4 => self.break_stream(id),
            5 => self.cut(id),
            6 => {
                self.feed(Event::DrainRequested { worker: id })?;
                self.plan(500, Happening::Join);
            }
            7 => {
                if let Some(worker) = self.workers.get_mut(&id) {
                    worker.draining = true;
                    self.plan(500, Happening::Join);
                }
            }
            8 => self.crash_coordinator(),
            9 => self.go_down(),
            _ => self.join(),
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, id: WorkerId) {
        // A killed process resets its connection; a machine that is gone says nothing.
        if self.rng.chance(80) {
            self.break_stream(id);
        }
        self.workers.remove(&id);
        if self.rng.chance(80) {
            let delay = self.rng.range(100..3_000);
            self.plan(delay, Happening::Join);
        }
    }

    /// Everything ends, and what starts the cluster again knows that.
    pub(crate) fn go_down(&mut self) {
        self.crash_coordinator();
        self.down = true;
        for _ in 0..std::mem::take(&mut self.workers).len() {
            let delay = self.rng.range(20..3_000);
            self.plan(delay, Happening::Join);
        }
    }

    pub(crate) fn pause(&mut self, id: WorkerId) {
        let length = self.rng.range(100..6_000);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.paused_until = self.now + length;
        }
    }

    pub(crate) fn cut(&mut self, id: WorkerId) {
        let length = self.rng.range(100..5_000);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.cut_until = self.now + length;
        }
    }

    pub(crate) fn keep_some_workers(&mut self) {
        if self.workers.values().filter(|worker| !worker.draining).count() < 2 {
            self.plan(100, Happening::Join);
        }
    }
}
