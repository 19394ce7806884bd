//! What one link may take.

/// The most descriptors that the system passes at once.
pub(crate) const MAX_DESCRIPTORS: u8 = 253;

/// Bounds of one link. The reader's hold for what arrives, the writer's for what is sent; both sides should agree.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one payload, no more than 1 GiB; what is large belongs into shared memory. Default 1 MiB.
    pub payload_bytes: u32,
    /// Descriptors with one frame; the system passes no more than 253. Default 16.
    pub descriptors: u8,
    /// Bytes that may wait to be written, headers included and every descriptor counted as 1 KiB. Never less than the
    /// largest frame needs. Default 1 MiB.
    pub queue_bytes: u32,
}

impl Limits {
    /// The same, but no more than there can be.
    pub(crate) fn bounded(self) -> Self {
        let Self { payload_bytes, descriptors, queue_bytes } = self;
        Self { payload_bytes: payload_bytes.min(1 << 30), descriptors: descriptors.min(MAX_DESCRIPTORS), queue_bytes }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { payload_bytes: 1 << 20, descriptors: 16, queue_bytes: 1 << 20 }
    }
}
