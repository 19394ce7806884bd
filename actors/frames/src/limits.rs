//! What one link may take.

/// Bounds of one link. The reader's hold for what arrives, the writer's for what is sent; both sides should agree.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one payload; what is larger belongs into shared memory. Default 1 MiB.
    pub payload_bytes: u32,
    /// Descriptors with one frame; the system passes no more than 253. Default 16.
    pub descriptors: u8,
    /// Bytes that may wait to be written, headers included and every descriptor counted as 1 KiB. Never less than the
    /// largest frame needs. Default 1 MiB.
    pub queue_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { payload_bytes: 1 << 20, descriptors: 16, queue_bytes: 1 << 20 }
    }
}
