//! What can go wrong on a device, split by what the receiver does next: see [`DeviceError::remedy`].

use crate::KernelError;

/// Why there is no device to work on, found out before anything runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// The driver's library cannot be opened: no NVIDIA driver on this machine, or not in this container.
    #[error("no CUDA driver: libcuda.so.1 cannot be opened")]
    Driver,
    /// The driver's library lacks a function that is used here.
    #[error("the CUDA driver is too old: it has no {symbol}")]
    OldDriver {
        /// The function.
        symbol: &'static str,
    },
    /// The driver does not start.
    #[error("the CUDA driver does not start: {cause}")]
    Start {
        /// What it says.
        cause: String,
    },
    /// There is no device of that number.
    #[error("no CUDA device {ordinal}: there are {count}")]
    Device {
        /// The number asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The device lacks instructions that kernels need.
    #[error("compute capability {major}.{minor} is too old, 8.0 or later is needed")]
    Capability {
        /// Before the point.
        major: u32,
        /// Behind the point.
        minor: u32,
    },
    /// The compiler for kernels cannot be opened.
    #[error("no NVRTC: {tried} cannot be opened")]
    Nvrtc {
        /// What was looked for.
        tried: String,
    },
    /// A first kernel ran and gave a wrong answer.
    #[error("the device computes {got} where the CPU computes {expected}")]
    SelfTest {
        /// The device's number.
        got: String,
        /// The CPU's number.
        expected: String,
    },
    /// Whoever started the process said not to use one.
    #[error("the CPU was asked for")]
    NotAsked,
}

/// Why an operation on a device gave no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DeviceError {
    /// There is nothing to work on.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// The device, or the share of it that this handle may use, has no such amount left.
    #[error("{asked_bytes} bytes of device memory were asked for, {free_bytes} are free")]
    OutOfMemory {
        /// What was asked for.
        asked_bytes: u64,
        /// What is left of the handle's budget, or of the device if that is less.
        free_bytes: u64,
    },
    /// A kernel went wrong and took the context with it; all that was on the device is lost.
    #[error("the context of the device is lost ({cause}); a new handle is needed")]
    Faulted {
        /// What the driver said first.
        cause: String,
    },
    /// A kernel's source does not compile.
    #[error("kernel {kernel} does not compile: {log}")]
    Compile {
        /// The source file.
        kernel: &'static str,
        /// What the compiler said.
        log: String,
    },
    /// The input is good for the CPU, but larger than this device's kernel takes.
    #[error("{what} is {got}, the device takes up to {limit}")]
    Unsupported {
        /// What is too large.
        what: &'static str,
        /// Its value.
        got: usize,
        /// The largest value.
        limit: usize,
    },
    /// A call to the driver failed and nothing else is known of it.
    #[error("{call} failed: {cause}")]
    Driver {
        /// The driver's function.
        call: &'static str,
        /// What it said.
        cause: String,
    },
    /// The input is no good, on a device or elsewhere.
    #[error(transparent)]
    Input(#[from] KernelError),
}

/// What to do about a [`DeviceError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Run the CPU's twin of the operation; the device will not do it.
    UseCpu,
    /// Try again with less at a time, or once others have given memory back.
    AskForLess,
    /// Drop the handle and everything that lies on the device, open a new one, and start again from the last state that
    /// the host holds. If that fails too, start a new process.
    ReplaceHandle,
    /// Nothing but other input helps.
    FixInput,
}

impl DeviceError {
    /// What the receiver can do.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Missing(_) | Self::Compile { .. } | Self::Unsupported { .. } => Remedy::UseCpu,
            Self::OutOfMemory { .. } => Remedy::AskForLess,
            Self::Faulted { .. } | Self::Driver { .. } => Remedy::ReplaceHandle,
            Self::Input(_) => Remedy::FixInput,
        }
    }
}
