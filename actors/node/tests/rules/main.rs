//! What a node decides, event by event.

mod actor_streams;
mod bench;
mod broadcast;
mod checkpoints;
mod circles;
mod cluster;
mod crashes;
mod deadlock;
mod ends;
mod found;
mod groups;
mod held;
mod lanes;
mod leases;
mod outside;
mod places;
#[path = "../simulation/random.rs"]
mod random;
mod rebuilds;
mod refused;
mod seen;
mod space;
mod spill;
mod streams;
mod versions;
mod waits;
mod yielding;
