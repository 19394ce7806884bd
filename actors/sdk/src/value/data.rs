//! What can be passed between processes.

use std::any::{Any, type_name};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tandem_actor_protocol::value::Format;

use super::{Fetched, ValueBuilder, ValueError};

/// A type whose values can be arguments, results and objects: everything that serde can write and read back, and
/// [`Batches`](crate::Batches). [`Bytes`] and `Vec<u8>` travel as they are.
pub trait Data: Sized + 'static {
    /// Writes this value and says in which form.
    #[doc(hidden)]
    fn write(&self, to: &mut ValueBuilder<'_>) -> Result<Format, ValueError>;

    /// Reads a value, in place where the type allows it.
    #[doc(hidden)]
    fn read(from: Fetched) -> Result<Self, ValueError>;
}

impl<T: Serialize + DeserializeOwned + 'static> Data for T {
    fn write(&self, to: &mut ValueBuilder<'_>) -> Result<Format, ValueError> {
        let unwritable = |reason: String| ValueError::Unwritable { type_name: type_name::<T>(), reason };
        if let Some(bytes) = as_bytes(self) {
            to.append(bytes).map_err(|error| unwritable(error.to_string()))?;
            return Ok(Format::Bytes);
        }
        postcard::serialize_with_flavor(self, to).map_err(|error| unwritable(error.to_string()))?;
        Ok(Format::Serde)
    }

    fn read(from: Fetched) -> Result<Self, ValueError> {
        let malformed = |reason: String| ValueError::Malformed { type_name: type_name::<T>(), reason };
        match from.format {
            Format::Serde if is_bytes::<T>() => Err(ValueError::Format { found: Format::Serde, expected: "bytes" }),
            Format::Serde => match postcard::take_from_bytes(&from.bytes) {
                Ok((value, [])) => Ok(value),
                Ok((_, rest)) => Err(malformed(format!("{} bytes too many", rest.len()))),
                Err(error) => Err(malformed(error.to_string())),
            },
            Format::Json => serde_json::from_slice(&from.bytes).map_err(|error| malformed(error.to_string())),
            found @ Format::Bytes => {
                of_bytes(from.bytes).ok_or(ValueError::Format { found, expected: "a serde value" })
            }
            found @ Format::Arrow => Err(ValueError::Format { found, expected: "a serde value" }),
        }
    }
}

/// The bytes of a value that is nothing else.
fn as_bytes<T: 'static>(value: &T) -> Option<&[u8]> {
    let value: &dyn Any = value;
    let bytes = value.downcast_ref::<Bytes>().map(|bytes| &bytes[..]);
    bytes.or_else(|| value.downcast_ref::<Vec<u8>>().map(|bytes| &bytes[..]))
}

fn is_bytes<T: 'static>() -> bool {
    let id = std::any::TypeId::of::<T>();
    id == std::any::TypeId::of::<Bytes>() || id == std::any::TypeId::of::<Vec<u8>>()
}

/// A value that is nothing but bytes; none for other types.
fn of_bytes<T: 'static>(bytes: Bytes) -> Option<T> {
    let mut value: Option<T> = None;
    let slot: &mut dyn Any = &mut value;
    if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        *slot = Some(bytes);
    } else if let Some(slot) = slot.downcast_mut::<Option<Vec<u8>>>() {
        *slot = Some(bytes.into());
    }
    value
}
