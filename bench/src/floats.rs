//! Files of raw `f32`, as programs hand vectors to each other.

use std::path::Path;

use anyhow::{Context, ensure};

pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let (values, rest) = bytes.as_chunks();
    ensure!(rest.is_empty(), "{} does not hold whole floats", path.display());
    Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}

pub(crate) fn write(path: &Path, values: impl IntoIterator<Item = f32>) -> anyhow::Result<()> {
    let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
    std::fs::write(path, bytes).with_context(|| path.display().to_string())
}
