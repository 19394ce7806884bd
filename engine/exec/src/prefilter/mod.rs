//! Drops rows of the larger side of a join before they are exchanged: those whose key no row of the other side has.
//!
//! ```text
//!   stage 1  Exchange by hash                  stage 3  Exchange by hash
//!            └─ Scan orders, filtered                   └─ Prefilter ─ only rows that may find a partner
//!   stage 2  Key digest                                    ├─ Read all, stage 2
//!            └─ Read hash, stage 1                         └─ Scan lineitem
//!   stage 4  Join (partitioned)
//!            ├─ Read hash, stage 1
//!            └─ Read hash, stage 3
//! ```
//!
//! What is not exchanged by its keys anyway, such as the rows of a join by the same keys, is put out once more for the digest.
//! A digest of keys is a Bloom filter for each partition: it forgets no key, so that no row with a partner is dropped, and lets
//! a few rows without one pass.

mod digest;
mod exec;
mod key_set;
mod keys;
mod place;
mod sources;

pub(crate) use digest::KeyDigestExec;
pub(crate) use exec::PrefilterExec;
pub(crate) use keys::{Keys, column, column_of};
pub(crate) use place::{mapped, place, rows_to_look_up};
pub(crate) use sources::{KeySource, compared, key_sources, needs_partner};
