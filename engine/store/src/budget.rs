//! Counts every byte the store holds and charges those in memory to the worker's memory pool.
//! Invariant: what the pool has reserved for the store equals the sum of all live charges.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};

/// The store's share of the worker's memory.
#[derive(Debug)]
pub(crate) struct Budget {
    limit_bytes: u64,
    reservation: MemoryReservation,
    in_memory: AtomicU64,
    spilled: AtomicU64,
}

impl Budget {
    /// A budget of at most `limit_bytes`, and of no more than `pool` grants.
    pub(crate) fn new(limit_bytes: u64, pool: &Arc<dyn MemoryPool>) -> Arc<Self> {
        let reservation = MemoryConsumer::new("shuffle store").with_can_spill(true).register(pool);
        Arc::new(Self { limit_bytes, reservation, in_memory: AtomicU64::new(0), spilled: AtomicU64::new(0) })
    }

    /// Charges `bytes`; none when the own limit or the pool has no room for them.
    pub(crate) fn try_charge(self: &Arc<Self>, bytes: u64) -> Option<Charge> {
        let fits = |used: u64| used.checked_add(bytes).filter(|total| *total <= self.limit_bytes);
        self.in_memory.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        if self.reservation.try_grow(bytes as usize).is_err() {
            self.in_memory.fetch_sub(bytes, Ordering::Relaxed);
            return None;
        }
        Some(Charge { budget: Arc::clone(self), bytes })
    }

    /// Charges `bytes` over any limit: for the little that cannot be spilled.
    pub(crate) fn force_charge(self: &Arc<Self>, bytes: u64) -> Charge {
        self.in_memory.fetch_add(bytes, Ordering::Relaxed);
        self.reservation.grow(bytes as usize);
        Charge { budget: Arc::clone(self), bytes }
    }

    /// Bytes charged now.
    pub(crate) fn in_memory(&self) -> u64 {
        self.in_memory.load(Ordering::Relaxed)
    }

    /// Bytes in spill files now.
    pub(crate) fn spilled(&self) -> u64 {
        self.spilled.load(Ordering::Relaxed)
    }

    /// Counts bytes that were added to a spill file.
    pub(crate) fn add_spilled(&self, bytes: u64) {
        self.spilled.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of a spill file that is gone.
    pub(crate) fn remove_spilled(&self, bytes: u64) {
        self.spilled.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn release(&self, bytes: u64) {
        self.reservation.shrink(bytes as usize);
        self.in_memory.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Bytes charged to a [`Budget`], given back on drop.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Charge {
    /// A charge of nothing, to add to.
    pub(crate) fn empty(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// How much is charged.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes over another charge of the same budget.
    pub(crate) fn add(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back all above `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.budget.release(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::GreedyMemoryPool;

    use super::*;

    #[test]
    fn the_smaller_of_limit_and_pool_decides_and_all_comes_back() {
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let budget = Budget::new(60, &pool);
        let mut first = budget.try_charge(40).expect("fits both");
        assert!(budget.try_charge(21).is_none(), "over the own limit");
        let other = MemoryConsumer::new("operator").register(&pool);
        other.try_grow(50).expect("fits the pool");
        assert!(budget.try_charge(11).is_none(), "over the pool");
        assert_eq!((budget.in_memory(), pool.reserved()), (40, 90));
        first.add(budget.force_charge(100));
        assert_eq!((first.bytes(), budget.in_memory(), pool.reserved()), (140, 140, 190));
        first.shrink_to(10);
        assert_eq!((budget.in_memory(), pool.reserved()), (10, 60));
        drop(first);
        assert_eq!((budget.in_memory(), pool.reserved()), (0, 50));
    }
}
