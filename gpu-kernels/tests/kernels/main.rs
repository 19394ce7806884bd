//! The kernels through their public interface: against plain `f64` code, and every path of the processor against the
//! scalar one, bit for bit.

mod batch;
mod device;
mod encoder;
mod generate;
mod ials;
mod rank;
mod reference;
mod reference_encoder;
mod train;
mod update;
