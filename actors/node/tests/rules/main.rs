//! What a node decides, event by event.

mod bench;
mod checkpoints;
mod crashes;
mod deadlock;
mod ends;
mod found;
mod groups;
mod held;
mod leases;
mod outside;
mod places;
mod rebuilds;
mod refused;
mod seen;
mod space;
mod spill;
mod streams;
mod versions;
mod waits;
