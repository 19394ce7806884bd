//! A model on a device.

use std::path::Path;
use std::sync::Mutex;

use tandem_kernels::device::Device;
use tandem_kernels::encoder::cuda::{DeviceEncoder, EncoderConfig, EncoderWeights};
use tandem_kernels::encoder::{EncoderShape, Pooling};

use super::tensors::Tensors;
use super::{Config, Embedding, Engine, Layer, Model, read_all_but_weights};
use crate::LoadError;
use crate::folder::Folder;

impl Model {
    /// Loads the model in `folder` to a device, where it computes in bfloat16.
    ///
    /// # Errors
    /// As [`Model::load`], and [`LoadError::Device`] for a model that kernels do not take, or what the device says.
    pub fn load_to(folder: &Path, device: &Device) -> Result<Self, LoadError> {
        let folder = Folder::open(folder)?;
        let (config, tokenizer, mut tensors) = read_all_but_weights(&folder)?;
        let shape = config.shape;
        if shape.pooling != Pooling::Mean || !shape.normalise {
            let expected = "the mean of a sentence's tokens, normalised, for a model on a device";
            return Err(folder.value("modules.json", "pooling", format!("{:?}", shape.pooling), expected));
        }
        let encoder = bring(&folder, &mut tensors, &config, device)?;
        let longest = config.longest.min(device_config(&shape).most_tokens());
        let (engine, files) = (Engine::Device(Mutex::new(encoder)), folder.into_files());
        Ok(Self { tokenizer, shape, engine, longest, files })
    }
}

fn device_config(shape: &EncoderShape) -> EncoderConfig {
    let EncoderShape { hidden, heads, feed_forward, vocabulary, positions, epsilon, .. } = *shape;
    EncoderConfig { hidden, heads, intermediate: feed_forward, vocabulary, positions, epsilon }
}

fn bring(folder: &Folder, tensors: &mut Tensors, config: &Config, device: &Device) -> Result<DeviceEncoder, LoadError> {
    let Embedding { words, positions, token_type, norm } = Embedding::read(tensors, config)?;
    let layers = (0..config.shape.layers).map(|number| Layer::read(tensors, number, &config.shape));
    let layers = layers.collect::<Result<Vec<_>, _>>()?;
    let weights = EncoderWeights {
        words: &words,
        positions: &positions,
        token_type: &token_type,
        norm: norm.weights(),
        layers: layers.iter().map(Layer::weights).collect(),
    };
    let encoder = DeviceEncoder::new(device, &device_config(&config.shape), &weights);
    encoder.map_err(|source| LoadError::Device { path: folder.path().to_owned(), source })
}
