//! Runs the first kernel on a device and compares its answer with the CPU's.

use super::{Device, DeviceError, Missing, Program, Source, Threads};

/// The kernel's source.
const SOURCE: Source =
    Source { path: "device/self_test.cu", text: include_str!("self_test.cu"), kernels: &["self_test"] };

/// What the usual inputs need.
pub(super) fn programs() -> Vec<Program> {
    vec![Program::new(SOURCE, &[])]
}

/// Checks that a device computes what the CPU does, bit for bit.
///
/// # Errors
/// [`Missing::SelfTest`] if it does not; whatever compiling and running say.
pub fn self_test(device: &Device) -> Result<(), DeviceError> {
    let values: Vec<f32> = (0..1000).map(|at| (at % 37) as f32 * 0.3 - 5.0).collect();
    let kernel = device.kernel(&Program::new(SOURCE, &[]), "self_test", 0)?;
    let input = device.upload(&values)?;
    let output = device.zeros::<f32>(1)?;
    let threads = Threads { blocks: [1, 1, 1], per_block: 32, shared_bytes: 0 };
    // SAFETY: one block of 32 threads reads `count` values and writes one.
    unsafe {
        device.launch(kernel, threads, &[(&input).into(), (values.len() as u32).into(), (&output).into()])?;
    }
    let got = device.download(&output)?[0];
    let expected = expected(&values);
    if got.to_bits() != expected.to_bits() {
        return Err(Missing::SelfTest { got: got.to_string(), expected: expected.to_string() }.into());
    }
    Ok(())
}

/// The kernel's sum, in its order.
fn expected(values: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 32];
    for (at, value) in values.iter().enumerate() {
        lanes[at % 32] += value.mul_add(0.5, at as f32);
    }
    for apart in [16, 8, 4, 2, 1] {
        for lane in 0..apart {
            lanes[lane] += lanes[lane + apart];
        }
    }
    lanes[0]
}
