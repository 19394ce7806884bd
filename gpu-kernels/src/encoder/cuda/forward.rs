//! The forward pass.

use super::weights::{DeviceLinear, DeviceNorm, DeviceWeights};
use super::{EncoderConfig, EncoderWeights, attention, norm, product};
use crate::KernelError;
use crate::device::{Argument, Buffer, Device, DeviceError, Kernel, Pinned, Threads, Transfer};

/// Most tokens of a pass.
pub const PASS_TOKENS: usize = 8192;

/// Shared memory of a product, as in the source: three stages of two tiles of 128 rows of 40 bf16 numbers.
const PRODUCT_BYTES: u32 = 3 * 2 * 128 * 40 * 2;
const TILE: usize = 128;
/// Tokens of a block that embeds or normalises, and threads of a block of attention, as in the sources.
const NORM_TOKENS: usize = 8;
const ATTENTION_THREADS: u32 = 128;

/// A model on a device, with room for one pass.
pub struct DeviceEncoder {
    device: Device,
    config: EncoderConfig,
    weights: DeviceWeights,
    kernels: Kernels,
    room: Room,
    /// What passes read: one is copied while another runs.
    inputs: Vec<(Pinned<u32>, Buffer<u32>)>,
}

struct Kernels {
    embed: Kernel,
    add_norm: Kernel,
    pool: Kernel,
    product: Kernel,
    product_gelu: Kernel,
    attention: Kernel,
}

/// Activations of a pass.
struct Room {
    rows: Buffer<u16>,
    wide: Buffer<u16>,
    narrow: Buffer<u16>,
    vectors: Buffer<f32>,
}

/// Sequences that run together.
#[derive(Debug, Clone, Copy)]
struct Pass {
    first: usize,
    sequences: usize,
    tokens: usize,
    longest: usize,
}

impl DeviceEncoder {
    /// Brings a model to a device.
    ///
    /// # Errors
    /// [`DeviceError::Input`] for a shape that kernels do not take or a slice of another length; whatever the device says.
    pub fn new(device: &Device, config: &EncoderConfig, weights: &EncoderWeights<'_>) -> Result<Self, DeviceError> {
        let weights = DeviceWeights::new(device, config, weights)?;
        let (hidden, widest) = (config.hidden, (3 * config.hidden).max(config.intermediate));
        let attention_bytes = attention_bytes(config, config.most_tokens());
        let kernel = |program, name, shared_bytes| device.kernel(&program, name, shared_bytes);
        let kernels = Kernels {
            embed: kernel(norm(hidden), "encoder_embed", 0)?,
            add_norm: kernel(norm(hidden), "encoder_add_norm", 0)?,
            pool: kernel(norm(hidden), "encoder_pool", 0)?,
            product: kernel(product(false), "encoder_product", PRODUCT_BYTES)?,
            product_gelu: kernel(product(true), "encoder_product", PRODUCT_BYTES)?,
            attention: kernel(attention(config.head()), "encoder_attention", attention_bytes)?,
        };
        let room = Room {
            rows: device.allocate(PASS_TOKENS * hidden)?,
            wide: device.allocate(PASS_TOKENS * widest)?,
            narrow: device.allocate(PASS_TOKENS * hidden)?,
            vectors: device.allocate(PASS_TOKENS * hidden)?,
        };
        let input = || Ok::<_, DeviceError>((device.pinned(INPUTS)?, device.allocate(INPUTS)?));
        let inputs = vec![input()?, input()?];
        Ok(Self { device: device.clone(), config: *config, weights, kernels, room, inputs })
    }

    /// One vector of `hidden` numbers and length 1 for each sequence: `ids` has the tokens of all sequences one after
    /// another, `offsets` the first token of each and at the end their number.
    ///
    /// # Errors
    /// [`DeviceError::Input`] for offsets that do not ascend to the number of ids, a sequence without tokens or with too
    /// many, or an unknown id; whatever the device says.
    pub fn encode(&mut self, ids: &[u32], offsets: &[u32]) -> Result<Vec<f32>, DeviceError> {
        let passes = self.passes(ids, offsets)?;
        let mut vectors = Vec::with_capacity(offsets.len().saturating_sub(1) * self.config.hidden);
        let mut next = match passes.first() {
            Some(pass) => Some(self.start(pass, ids, offsets)?),
            None => None,
        };
        for (number, pass) in passes.iter().enumerate() {
            let (pinned, input) = next.take().expect("each pass is started before its turn").finish()?;
            // The copy of the next pass waits for nothing but what is queued by now, which is the pass before this one.
            if let Some(following) = passes.get(number + 1) {
                next = Some(self.start(following, ids, offsets)?);
            }
            self.run(pass, &input)?;
            let mut out = vec![0.0; pass.sequences * self.config.hidden];
            self.device.read_start(&self.room.vectors, &mut out)?;
            vectors.extend_from_slice(&out);
            self.inputs.push((pinned, input));
        }
        Ok(vectors)
    }

    /// Cuts sequences into passes.
    fn passes(&self, ids: &[u32], offsets: &[u32]) -> Result<Vec<Pass>, DeviceError> {
        let last = offsets.last().map_or(0, |last| *last as usize);
        KernelError::check_length("ids", ids.len(), last)?;
        if let Some(entry) = ids.iter().position(|id| *id as usize >= self.config.vocabulary) {
            let (id, rows) = (ids[entry], self.config.vocabulary);
            return Err(KernelError::UnknownId { what: "token", entry, id, rows }.into());
        }
        if offsets.first().is_some_and(|first| *first != 0) {
            return Err(
                KernelError::Parameter { name: "offsets", value: offsets[0].into(), expected: "0 first" }.into()
            );
        }
        let mut passes: Vec<Pass> = Vec::new();
        for (first, ends) in offsets.windows(2).enumerate() {
            let tokens = i64::from(ends[1]) - i64::from(ends[0]);
            if tokens < 1 || tokens > self.config.most_tokens() as i64 {
                let expected = "1 or more, up to the model's positions and 512";
                return Err(
                    KernelError::Parameter { name: "tokens of a sequence", value: tokens as f64, expected }.into()
                );
            }
            let tokens = tokens as usize;
            match passes.last_mut().filter(|pass| pass.tokens + tokens <= PASS_TOKENS) {
                Some(pass) => {
                    (pass.sequences, pass.tokens) = (pass.sequences + 1, pass.tokens + tokens);
                    pass.longest = pass.longest.max(tokens);
                }
                None => passes.push(Pass { first, sequences: 1, tokens, longest: tokens }),
            }
        }
        Ok(passes)
    }

    /// Starts to copy what a pass reads.
    fn start(&mut self, pass: &Pass, ids: &[u32], offsets: &[u32]) -> Result<Transfer<u32>, DeviceError> {
        let (mut pinned, input) = match self.inputs.pop() {
            Some(input) => input,
            // One was lost to an error.
            None => (self.device.pinned(INPUTS)?, self.device.allocate(INPUTS)?),
        };
        let offsets = &offsets[pass.first..=pass.first + pass.sequences];
        let first = offsets[0];
        pinned[..pass.tokens].copy_from_slice(&ids[first as usize..][..pass.tokens]);
        for (at, ends) in offsets.windows(2).enumerate() {
            pinned[OFFSETS + at] = ends[0] - first;
            for token in ends[0]..ends[1] {
                pinned[POSITIONS + (token - first) as usize] = token - ends[0];
            }
        }
        pinned[OFFSETS + pass.sequences] = pass.tokens as u32;
        self.device.start_upload(pinned, input)
    }

    /// Queues all kernels of a pass.
    fn run(&self, pass: &Pass, input: &Buffer<u32>) -> Result<(), DeviceError> {
        let Self { config, weights, kernels, room, .. } = self;
        let tokens = pass.tokens as u32;
        let by_token = Threads {
            blocks: [pass.tokens.div_ceil(NORM_TOKENS) as u32, 1, 1],
            per_block: 32 * NORM_TOKENS as u32,
            shared_bytes: 0,
        };
        let embed = [
            input.into(),
            input.at(POSITIONS),
            tokens.into(),
            (&weights.words).into(),
            (&weights.places).into(),
            (&weights.norm.scale).into(),
            (&weights.norm.shift).into(),
            config.epsilon.into(),
            (&room.rows).into(),
        ];
        // SAFETY: the parameters of `encoder_embed`; ids and positions were checked to lie within the tables.
        unsafe { self.device.launch(kernels.embed, by_token, &embed)? };
        for layer in &weights.layers {
            self.product(kernels.product, &room.rows, &layer.qkv, tokens, &room.wide)?;
            self.attention(pass, input)?;
            self.product(kernels.product, &room.narrow, &layer.attention_output, tokens, &room.wide)?;
            self.add_norm(by_token, &layer.attention_norm, tokens)?;
            self.product(kernels.product_gelu, &room.rows, &layer.up, tokens, &room.wide)?;
            self.product(kernels.product, &room.wide, &layer.down, tokens, &room.narrow)?;
            self.add_narrow_norm(by_token, &layer.output_norm, tokens)?;
        }
        let by_sequence = Threads { blocks: [pass.sequences as u32, 1, 1], per_block: 32, shared_bytes: 0 };
        let pool = [(&room.rows).into(), input.at(OFFSETS), (&room.vectors).into()];
        // SAFETY: the parameters of `encoder_pool`; there is room for a vector of each sequence.
        unsafe { self.device.launch(kernels.pool, by_sequence, &pool) }
    }

    fn product(
        &self,
        kernel: Kernel,
        from: &Buffer<u16>,
        linear: &DeviceLinear,
        tokens: u32,
        to: &Buffer<u16>,
    ) -> Result<(), DeviceError> {
        let blocks = [linear.outputs.div_ceil(TILE) as u32, (tokens as usize).div_ceil(TILE) as u32, 1];
        let threads = Threads { blocks, per_block: 256, shared_bytes: PRODUCT_BYTES };
        let arguments = [
            from.into(),
            (&linear.weight).into(),
            (&linear.bias).into(),
            tokens.into(),
            (linear.outputs as u32).into(),
            (linear.inputs as u32).into(),
            to.into(),
        ];
        // SAFETY: the parameters of `encoder_product`; both sides have room for the widest rows of a pass.
        unsafe { self.device.launch(kernel, threads, &arguments) }
    }

    /// From `wide` (queries, keys, values) to `narrow`.
    fn attention(&self, pass: &Pass, input: &Buffer<u32>) -> Result<(), DeviceError> {
        let Self { config, kernels, room, .. } = self;
        let threads = Threads {
            blocks: [config.heads as u32, pass.sequences as u32, 1],
            per_block: ATTENTION_THREADS,
            shared_bytes: attention_bytes(config, pass.longest),
        };
        // Powers of two are what the kernel takes of scores.
        let scale = std::f32::consts::LOG2_E / (config.head() as f32).sqrt();
        let arguments =
            [(&room.wide).into(), input.at(OFFSETS), (config.heads as u32).into(), scale.into(), (&room.narrow).into()];
        // SAFETY: the parameters of `encoder_attention`; shared memory fits the longest sequence.
        unsafe { self.device.launch(kernels.attention, threads, &arguments) }
    }

    /// From `wide` and `rows` to `rows`.
    fn add_norm(&self, threads: Threads, norm: &DeviceNorm, tokens: u32) -> Result<(), DeviceError> {
        self.add_norm_of((&self.room.wide).into(), threads, norm, tokens)
    }

    /// From `narrow` and `rows` to `rows`.
    fn add_narrow_norm(&self, threads: Threads, norm: &DeviceNorm, tokens: u32) -> Result<(), DeviceError> {
        self.add_norm_of((&self.room.narrow).into(), threads, norm, tokens)
    }

    fn add_norm_of(&self, from: Argument, threads: Threads, norm: &DeviceNorm, tokens: u32) -> Result<(), DeviceError> {
        let rows: Argument = (&self.room.rows).into();
        let (scale, shift) = ((&norm.scale).into(), (&norm.shift).into());
        let arguments = [from, rows, tokens.into(), scale, shift, self.config.epsilon.into(), rows];
        // SAFETY: the parameters of `encoder_add_norm`: rows of `hidden` numbers; a warp reads a row before it writes it.
        unsafe { self.device.launch(self.kernels.add_norm, threads, &arguments) }
    }
}

/// Where ids, positions and offsets of a pass lie in what it reads: room for as many sequences as tokens.
const POSITIONS: usize = PASS_TOKENS;
const OFFSETS: usize = 2 * PASS_TOKENS;
const INPUTS: usize = 3 * PASS_TOKENS + 1;

/// Shared memory for keys and values of a head over that many tokens, as in the source.
fn attention_bytes(config: &EncoderConfig, tokens: usize) -> u32 {
    let (head, padded) = (config.head(), tokens.next_multiple_of(16));
    (2 * (padded * (head + 8) + head * (padded + 8))) as u32
}
