//! Values for the parameters of kernels.

use std::ffi::c_void;

use super::{Buffer, Plain};

/// A value for a kernel's parameter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Argument {
    /// `unsigned`.
    U32(u32),
    /// `unsigned long long`, or the address of a buffer.
    U64(u64),
    /// `float`.
    F32(f32),
}

impl Argument {
    /// Where the value lies, for as long as this does.
    pub(super) fn pointer(&self) -> *mut c_void {
        match self {
            Self::U32(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::U64(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::F32(value) => std::ptr::from_ref(value).cast_mut().cast(),
        }
    }
}

impl From<u32> for Argument {
    fn from(value: u32) -> Self {
        Self::U32(value)
    }
}

impl From<u64> for Argument {
    fn from(value: u64) -> Self {
        Self::U64(value)
    }
}

impl From<f32> for Argument {
    fn from(value: f32) -> Self {
        Self::F32(value)
    }
}

impl<T: Plain> From<&Buffer<T>> for Argument {
    fn from(buffer: &Buffer<T>) -> Self {
        Self::U64(buffer.address)
    }
}

impl<T: Plain> From<&mut Buffer<T>> for Argument {
    fn from(buffer: &mut Buffer<T>) -> Self {
        Self::U64(buffer.address)
    }
}
