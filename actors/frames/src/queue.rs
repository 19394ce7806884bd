//! Frames between those that send them and the writer. Senders write into one buffer, the writer takes all of it at once.
//! Invariant: the room that is taken is the cost of what is queued or being written.
//!
//!   Open ─close─► Closing ─all written─► Closed        any ─the writer ends─► Closed

use std::sync::PoisonError;

use tokio::sync::{SemaphorePermit, TryAcquireError};

use crate::batch::{Batch, cost};
use crate::error::SendError;
use crate::frame::Frame;
use crate::limits::Limits;
use crate::sync::{Mutex, MutexGuard, Notify, Semaphore};

#[derive(Debug)]
pub(crate) struct Queue {
    limits: Limits,
    state: Mutex<State>,
    /// What may still be queued. Fair, so that a large frame does not wait forever.
    room: Semaphore,
    /// Told when a frame comes into an empty queue, and when it is closed.
    changed: Notify,
}

#[derive(Debug)]
enum State {
    Open(Batch),
    Closing(Batch),
    Closed,
}

impl Queue {
    pub(crate) fn new(limits: Limits) -> Self {
        let largest = cost(limits.payload_bytes as usize, usize::from(limits.descriptors));
        let room = largest.max(limits.queue_bytes as usize).min(Semaphore::MAX_PERMITS);
        Self {
            limits,
            state: Mutex::new(State::Open(Batch::default())),
            room: Semaphore::new(room),
            changed: Notify::new(),
        }
    }

    /// Queues `frame` as soon as there is room. Dropped before, it has queued nothing.
    pub(crate) async fn send(&self, frame: Frame) -> Result<(), SendError> {
        let cost = self.cost(&frame)?;
        let room = match self.room.try_acquire_many(cost) {
            Ok(room) => room,
            Err(TryAcquireError::NoPermits) => self.room.acquire_many(cost).await.map_err(|_| SendError::Closed)?,
            Err(TryAcquireError::Closed) => return Err(SendError::Closed),
        };
        self.push(frame, room)
    }

    /// Queues `frame` if there is room now; else hands it back.
    pub(crate) fn try_send(&self, frame: Frame) -> Result<(), (Frame, SendError)> {
        let cost = match self.cost(&frame) {
            Ok(cost) => cost,
            Err(error) => return Err((frame, error)),
        };
        match self.room.try_acquire_many(cost) {
            Ok(room) => self.push(frame, room).map_err(|error| (Frame::default(), error)),
            Err(TryAcquireError::NoPermits) => Err((frame, SendError::Full)),
            Err(TryAcquireError::Closed) => Err((frame, SendError::Closed)),
        }
    }

    /// Takes no more frames.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        *state = match std::mem::replace(&mut *state, State::Closed) {
            State::Open(batch) | State::Closing(batch) => State::Closing(batch),
            State::Closed => State::Closed,
        };
        drop(state);
        self.room.close();
        self.changed.notify_one();
    }

    /// Drops what is queued and takes no more: there is no writer any more.
    pub(crate) fn abandon(&self) {
        let state = std::mem::replace(&mut *self.lock(), State::Closed);
        drop(state);
        self.room.close();
    }

    /// Swaps what is queued with the empty `batch`; false at the end.
    pub(crate) async fn take(&self, batch: &mut Batch) -> bool {
        loop {
            match &mut *self.lock() {
                State::Open(queued) | State::Closing(queued) if !queued.is_empty() => {
                    std::mem::swap(queued, batch);
                    return true;
                }
                State::Open(_) => {}
                State::Closing(_) | State::Closed => return false,
            }
            self.changed.notified().await;
        }
    }

    /// Gives back the room of what was written.
    pub(crate) fn free(&self, cost: usize) {
        self.room.add_permits(cost);
    }

    fn cost(&self, frame: &Frame) -> Result<u32, SendError> {
        let Limits { payload_bytes, descriptors, .. } = self.limits;
        let (bytes, count) = (frame.payload.len(), frame.descriptors.len());
        if bytes > payload_bytes as usize {
            return Err(SendError::TooLong { bytes, limit: payload_bytes });
        }
        if count > usize::from(descriptors) {
            return Err(SendError::TooManyDescriptors { count, limit: descriptors });
        }
        Ok(cost(bytes, count) as u32)
    }

    fn push(&self, frame: Frame, room: SemaphorePermit<'_>) -> Result<(), SendError> {
        let mut state = self.lock();
        let State::Open(batch) = &mut *state else { return Err(SendError::Closed) };
        let was_empty = batch.is_empty();
        batch.push(frame);
        drop(state);
        room.forget();
        if was_empty {
            self.changed.notify_one();
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
