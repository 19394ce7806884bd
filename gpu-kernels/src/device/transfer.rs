//! Transfers that overlap with kernels.

use super::{Backend, Buffer, Device, DeviceError, Pinned, Plain, Stream};
use crate::KernelError;

impl Device {
    /// Starts to copy to the device, once all is done that was queued by now. What is queued from here on runs at the
    /// same time, and it must be of other buffers, which ownership sees to.
    ///
    /// ```text
    /// start_upload(piece 1) │ kernels of piece 0 │ finish │ start_upload(piece 2) │ kernels of piece 1 │ …
    /// copy:                   ████ piece 1                  ████ piece 2
    /// compute:                ██████████ piece 0            ██████████ piece 1
    /// ```
    ///
    /// # Errors
    /// [`crate::KernelError::Length`] if the sides differ, [`DeviceError::Faulted`].
    pub fn start_upload<T: Plain>(&self, from: Pinned<T>, to: Buffer<T>) -> Result<Transfer<T>, DeviceError> {
        self.start(from, to, |backend, host, device, bytes| {
            // SAFETY: the transfer owns both sides until the copy is done.
            unsafe { backend.copy_in(Stream::Copy, device, host, bytes) }
        })
    }

    /// As [`Device::start_upload`], the other way round.
    ///
    /// # Errors
    /// As [`Device::start_upload`].
    pub fn start_download<T: Plain>(&self, from: Buffer<T>, to: Pinned<T>) -> Result<Transfer<T>, DeviceError> {
        self.start(to, from, |backend, host, device, bytes| {
            // SAFETY: the transfer owns both sides until the copy is done.
            unsafe { backend.copy_out(Stream::Copy, host, device, bytes) }
        })
    }

    fn start<T: Plain>(
        &self,
        pinned: Pinned<T>,
        buffer: Buffer<T>,
        copy: impl FnOnce(&dyn Backend, *mut u8, u64, usize) -> Result<(), DeviceError>,
    ) -> Result<Transfer<T>, DeviceError> {
        KernelError::check_length("values to copy", pinned.len, buffer.len)?;
        let (host, device, bytes) = (pinned.pointer.cast(), buffer.address, buffer.bytes());
        let transfer = Transfer { sides: Some((pinned, buffer)) };
        if bytes > 0 {
            self.shared.run(|backend| {
                backend.order(Stream::Copy, Stream::Compute)?;
                copy(backend, host, device, bytes)
            })?;
        }
        Ok(transfer)
    }
}

/// A transfer under way. It owns both sides, so that nobody looks at them before [`Transfer::finish`].
pub struct Transfer<T: Plain> {
    sides: Option<(Pinned<T>, Buffer<T>)>,
}

impl<T: Plain> Transfer<T> {
    /// Waits for the transfer; what is queued on the compute stream goes on meanwhile.
    ///
    /// # Errors
    /// [`DeviceError::Faulted`] and the like; both sides are dropped then.
    pub fn finish(mut self) -> Result<(Pinned<T>, Buffer<T>), DeviceError> {
        let (pinned, buffer) = self.sides.take().expect("a transfer has both sides until it is finished");
        let done = buffer.shared.run(|backend| backend.synchronize(Stream::Copy));
        done.map(|()| (pinned, buffer))
    }
}

impl<T: Plain> Drop for Transfer<T> {
    fn drop(&mut self) {
        if let Some((_, buffer)) = &self.sides {
            // A failure here means that the context is gone, and with it the transfer; the next call says so.
            let _ = buffer.shared.run(|backend| backend.synchronize(Stream::Copy));
        }
    }
}
