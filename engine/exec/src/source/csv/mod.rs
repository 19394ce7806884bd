//! CSV: cutting bytes into records, records into typed batches, and big files into ranges.

mod marks;
mod records;
