//! JSON: cutting bytes into objects and objects into typed batches.

mod decoder;
mod sample;
mod split;

pub(crate) use self::decoder::{JsonDecoder, JsonStart};
pub(crate) use self::sample::{JsonHead, Oddity, is_json_array, read_json_head};
