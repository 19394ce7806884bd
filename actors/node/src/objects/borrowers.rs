//! The other workers that hold an object. Most objects have none, and then it takes one word.

use tandem_actor_protocol::WorkerId;

/// See the module's header.
#[derive(Debug, Default)]
pub(crate) struct Borrowers(Option<Box<Counts>>);

/// Each with how often it said that it holds the object.
type Counts = Vec<(WorkerId, u32)>;

impl Borrowers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.0.iter().flat_map(|counts| counts.iter()).map(|(worker, _)| *worker)
    }

    pub(crate) fn has(&self, worker: WorkerId) -> bool {
        self.workers().any(|known| known == worker)
    }

    /// A worker holds it, once more than before.
    pub(crate) fn add(&mut self, worker: WorkerId) {
        let counts = self.0.get_or_insert_default();
        match counts.iter_mut().find(|(known, _)| *known == worker) {
            Some((_, count)) => *count += 1,
            None => counts.push((worker, 1)),
        }
    }

    /// A worker holds it once less than before.
    pub(crate) fn remove(&mut self, worker: WorkerId) {
        let counts = self.0.iter_mut().flat_map(|counts| counts.iter_mut());
        counts.filter(|(known, _)| *known == worker).for_each(|(_, count)| *count -= 1);
        self.keep(|(_, count)| *count > 0);
    }

    /// A worker holds it no more, however often it said that it does.
    pub(crate) fn forget(&mut self, worker: WorkerId) {
        self.keep(|(known, _)| *known != worker);
    }

    fn keep(&mut self, wanted: impl FnMut(&(WorkerId, u32)) -> bool) {
        if let Some(counts) = &mut self.0 {
            counts.retain(wanted);
        }
        self.0.take_if(|counts| counts.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_stays_until_it_returned_as_often_as_it_borrowed() {
        let mut borrowers = Borrowers::default();
        [1, 2, 1].into_iter().for_each(|worker| borrowers.add(WorkerId(worker)));
        borrowers.remove(WorkerId(1));
        borrowers.remove(WorkerId(2));
        borrowers.remove(WorkerId(3));
        assert_eq!(borrowers.workers().collect::<Vec<_>>(), [WorkerId(1)]);
        borrowers.add(WorkerId(1));
        borrowers.forget(WorkerId(1));
        assert!(borrowers.is_empty() && size_of::<Borrowers>() == size_of::<usize>());
    }
}
