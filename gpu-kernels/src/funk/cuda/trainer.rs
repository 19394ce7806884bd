//! Trains a model on a device: everything is prepared as on the CPU, then ratings and rows stay on the device.

use super::resident::{Mode, Resident, Square};
use crate::device::{Device, DeviceError};
use crate::funk::{Batches, Model, Order, Rating, Strata, TrainOptions, Trainer};
use crate::{Cpu, KernelError};

/// A training between two epochs, on a device.
pub struct DeviceTrainer {
    device: Device,
    trainer: Trainer,
    resident: Resident,
}

impl DeviceTrainer {
    /// Prepares to train on `ratings` of the users `0..users` and the items `0..items`, in any order. Unless options say
    /// otherwise blocks are shuffled whatever the model's size: sorted by user, the ratings of an active user would all be
    /// in flight, or in a batch, together.
    ///
    /// In [`Mode::Batches`] all epochs have the bits of [`Trainer::batched`] with the same options and that order.
    ///
    /// # Errors
    /// [`DeviceError::Input`] as [`Trainer::new`]; whatever the device says.
    pub fn new(
        device: &Device,
        ratings: &[Rating],
        users: usize,
        items: usize,
        options: &TrainOptions,
        mode: Mode,
    ) -> Result<Self, DeviceError> {
        let options = TrainOptions { order: options.order.or(Some(Order::Shuffled)), ..options.clone() };
        let trainer = Trainer::new(Cpu::best(), ratings, users, items, &options)?;
        Self::of(device, trainer, mode)
    }

    /// Goes on with a training that was prepared, or has run, on the CPU; its blocks should be shuffled. Batches that it has are used only by
    /// [`Mode::Batches`], which needs them to be of the same size or none.
    ///
    /// # Errors
    /// As [`DeviceTrainer::new`].
    pub fn of(device: &Device, trainer: Trainer, mode: Mode) -> Result<Self, DeviceError> {
        let trainer = match (mode, trainer.batches.as_ref().and_then(|batches| batches.first())) {
            (Mode::Batches { size }, Some(batches)) if batches.size() == size => trainer,
            (Mode::Batches { size }, _) => trainer.batched(size)?,
            (Mode::Fast { .. }, _) => trainer,
        };
        let batches: Vec<&Batches> = match mode {
            Mode::Batches { .. } => trainer.batches.iter().flatten().collect(),
            Mode::Fast { .. } => Vec::new(),
        };
        let square = Square::of_grid(&trainer.grid)?;
        let Trainer { params, shape, users, items, .. } = &trainer;
        let resident = Resident::new(device, params, *shape, &square, &batches, mode, users, items)?;
        Ok(Self { device: device.clone(), trainer, resident })
    }

    /// Runs the next epoch; answers the root of the mean squared error that ratings had just before their updates.
    ///
    /// # Errors
    /// [`KernelError::Diverged`], after which the model is of no use; whatever the device says.
    pub fn epoch(&mut self) -> Result<f64, DeviceError> {
        let Self { device, trainer, resident } = self;
        let bins = trainer.grid.users().bins();
        let strata = Strata::of_epoch(bins, trainer.seed, trainer.epoch);
        let columns: Vec<u32> = (0..bins).map(|at| strata.item_bin(at, 0) as u32).collect();
        let squares = resident.epoch(device, &trainer.params, &columns)?;
        if !squares.is_finite() {
            return Err(KernelError::Diverged { epoch: trainer.epoch }.into());
        }
        trainer.epoch += 1;
        Ok((squares / trainer.grid.ratings().max(1) as f64).sqrt())
    }

    /// Copies the rows back, to go on with on the CPU.
    ///
    /// # Errors
    /// Whatever the device says.
    pub fn into_trainer(mut self) -> Result<Trainer, DeviceError> {
        let Trainer { params, users, items, .. } = &mut self.trainer;
        self.resident.download(&self.device, params, users, items)?;
        Ok(self.trainer)
    }

    /// The model as it is now, by id.
    ///
    /// # Errors
    /// Whatever the device says.
    pub fn model(&mut self) -> Result<Model, DeviceError> {
        let Trainer { params, users, items, .. } = &mut self.trainer;
        self.resident.download(&self.device, params, users, items)?;
        Ok(self.trainer.model())
    }
}
