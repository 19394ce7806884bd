//! Weights as a model file has them, and on the device.

use crate::KernelError;
use crate::device::{Buffer, Device, DeviceError};
use crate::encoder::math::round_to_bf16;
use crate::encoder::{LayerWeights, LinearWeights, NormWeights};

/// The shape of a model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EncoderConfig {
    /// Numbers of a token: a multiple of 64, up to 1024.
    pub hidden: usize,
    /// Heads of 32 or 64 numbers, which make up `hidden`.
    pub heads: usize,
    /// Numbers between the two products at the end of a layer: a multiple of 32.
    pub intermediate: usize,
    /// Different tokens.
    pub vocabulary: usize,
    /// Most tokens of a sequence that positions are known for; of these up to 512 are used.
    pub positions: usize,
    /// What keeps variances above 0.
    pub epsilon: f32,
}

/// The most tokens of a sequence: keys and values of a head fit the shared memory of a block.
const MOST_TOKENS: usize = 512;

impl EncoderConfig {
    /// Checks that kernels take the shape.
    pub(super) fn validate(&self) -> Result<(), KernelError> {
        let check = |name, value: usize, good, expected| {
            if good { Ok(()) } else { Err(KernelError::Parameter { name, value: value as f64, expected }) }
        };
        let (hidden, heads) = (self.hidden, self.heads);
        check(
            "hidden",
            hidden,
            (64..=1024).contains(&hidden) && hidden.is_multiple_of(64),
            "a multiple of 64 up to 1024",
        )?;
        let heads_fit = heads > 0 && hidden.is_multiple_of(heads) && matches!(hidden / heads, 32 | 64);
        check("heads", heads, heads_fit, "hidden / 32 or hidden / 64")?;
        let inner = self.intermediate;
        check("intermediate", inner, inner > 0 && inner.is_multiple_of(32), "a multiple of 32")?;
        check("vocabulary", self.vocabulary, self.vocabulary > 0, "1 or more")?;
        check("positions", self.positions, self.positions > 0, "1 or more")?;
        let (name, value, expected) = ("epsilon", self.epsilon.into(), "a finite number, 0 or more");
        let good = self.epsilon.is_finite() && self.epsilon >= 0.0;
        if good { Ok(()) } else { Err(KernelError::Parameter { name, value, expected }) }
    }

    /// Numbers of a head.
    pub(super) fn head(&self) -> usize {
        self.hidden / self.heads
    }

    /// The most tokens of a sequence.
    pub fn most_tokens(&self) -> usize {
        self.positions.min(MOST_TOKENS)
    }
}

/// A whole model.
#[derive(Debug, Clone)]
pub struct EncoderWeights<'a> {
    /// vocabulary × hidden.
    pub words: &'a [f32],
    /// positions × hidden.
    pub positions: &'a [f32],
    /// hidden: the embedding of token type 0.
    pub token_type: &'a [f32],
    /// After embedding.
    pub norm: NormWeights<'a>,
    /// Layers, the first first.
    pub layers: Vec<LayerWeights<'a>>,
}

/// A product on the device.
pub(super) struct DeviceLinear {
    pub(super) weight: Buffer<u16>,
    pub(super) bias: Buffer<f32>,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
}

/// Scale and shift on the device.
pub(super) struct DeviceNorm {
    pub(super) scale: Buffer<f32>,
    pub(super) shift: Buffer<f32>,
}

/// A layer on the device; queries, keys and values are one product.
pub(super) struct DeviceLayer {
    pub(super) qkv: DeviceLinear,
    pub(super) attention_output: DeviceLinear,
    pub(super) attention_norm: DeviceNorm,
    pub(super) up: DeviceLinear,
    pub(super) down: DeviceLinear,
    pub(super) output_norm: DeviceNorm,
}

/// A model on the device.
pub(super) struct DeviceWeights {
    pub(super) words: Buffer<u16>,
    /// Positions with the token type added.
    pub(super) places: Buffer<f32>,
    pub(super) norm: DeviceNorm,
    pub(super) layers: Vec<DeviceLayer>,
}

impl DeviceLinear {
    /// Brings products of the same inputs to the device as one.
    fn new(
        device: &Device,
        what: &'static str,
        parts: &[LinearWeights<'_>],
        outputs: usize,
        inputs: usize,
    ) -> Result<Self, DeviceError> {
        for part in parts {
            KernelError::check_length(what, part.weight.len(), outputs * inputs)?;
            KernelError::check_length(what, part.bias.len(), outputs)?;
        }
        let weight: Vec<u16> = parts.iter().flat_map(|part| part.weight).copied().map(round_to_bf16).collect();
        let bias: Vec<f32> = parts.iter().flat_map(|part| part.bias).copied().collect();
        let outputs = outputs * parts.len();
        Ok(Self { weight: device.upload(&weight)?, bias: device.upload(&bias)?, outputs, inputs })
    }
}

impl DeviceNorm {
    fn new(device: &Device, norm: &NormWeights<'_>, hidden: usize) -> Result<Self, DeviceError> {
        KernelError::check_length("scale", norm.scale.len(), hidden)?;
        KernelError::check_length("shift", norm.shift.len(), hidden)?;
        Ok(Self { scale: device.upload(norm.scale)?, shift: device.upload(norm.shift)? })
    }
}

impl DeviceWeights {
    /// Brings a model to the device.
    pub(super) fn new(
        device: &Device,
        config: &EncoderConfig,
        weights: &EncoderWeights<'_>,
    ) -> Result<Self, DeviceError> {
        config.validate()?;
        let EncoderConfig { hidden, intermediate, vocabulary, positions, .. } = *config;
        KernelError::check_length("words", weights.words.len(), vocabulary * hidden)?;
        KernelError::check_length("positions", weights.positions.len(), positions * hidden)?;
        KernelError::check_length("token_type", weights.token_type.len(), hidden)?;
        let token_type = weights.token_type.iter().cycle();
        let places: Vec<f32> = weights.positions.iter().zip(token_type).map(|(a, b)| a + b).collect();
        let words: Vec<u16> = weights.words.iter().copied().map(round_to_bf16).collect();
        let layer = |layer: &LayerWeights<'_>| {
            let linear = |what, parts: &[LinearWeights<'_>], outputs, inputs| {
                DeviceLinear::new(device, what, parts, outputs, inputs)
            };
            Ok(DeviceLayer {
                qkv: linear("query, key or value", &[layer.query, layer.key, layer.value], hidden, hidden)?,
                attention_output: linear("attention_output", &[layer.attention_output], hidden, hidden)?,
                attention_norm: DeviceNorm::new(device, &layer.attention_norm, hidden)?,
                up: linear("up", &[layer.up], intermediate, hidden)?,
                down: linear("down", &[layer.down], hidden, intermediate)?,
                output_norm: DeviceNorm::new(device, &layer.output_norm, hidden)?,
            })
        };
        Ok(Self {
            words: device.upload(&words)?,
            places: device.upload(&places)?,
            norm: DeviceNorm::new(device, &weights.norm, hidden)?,
            layers: weights.layers.iter().map(layer).collect::<Result<_, DeviceError>>()?,
        })
    }
}
