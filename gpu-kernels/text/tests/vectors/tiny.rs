//! The tiny model, and copies of it in which something is different.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value;
use tandem_kernels::encoder::Precision;
use tandem_text::LoadError;
use tandem_text::model::{Model, ModelPrecision};
use tempfile::TempDir;

/// Where `tiny_model.py` has written.
pub(crate) fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

/// The model as it was written.
pub(crate) fn model(precision: Precision) -> Model {
    Model::load(&here().join("tiny_model"), ModelPrecision::Only(precision)).expect("a good model")
}

/// A copy of the model's folder.
pub(crate) struct Copy(TempDir);

impl Copy {
    pub(crate) fn new() -> Self {
        let to = TempDir::new().expect("a folder");
        fs::create_dir(to.path().join("1_Pooling")).expect("a folder");
        for folder in ["", "1_Pooling"] {
            for file in fs::read_dir(here().join("tiny_model").join(folder)).expect("the model") {
                let file = file.expect("the model");
                if file.path().is_file() {
                    fs::copy(file.path(), to.path().join(folder).join(file.file_name())).expect("a copy");
                }
            }
        }
        Self(to)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    pub(crate) fn remove(self, file: &str) -> Self {
        fs::remove_file(self.path(file)).expect("a file");
        self
    }

    pub(crate) fn write(self, file: &str, text: impl AsRef<[u8]>) -> Self {
        fs::write(self.path(file), text).expect("a file");
        self
    }

    pub(crate) fn bytes(&self, file: &str) -> Vec<u8> {
        fs::read(self.path(file)).expect("a file")
    }

    /// Changes a JSON file at a pointer such as `/model/type`; null takes a key away.
    pub(crate) fn set(self, file: &str, pointer: &str, value: Value) -> Self {
        let mut json: Value = serde_json::from_slice(&self.bytes(file)).expect("JSON");
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = json.pointer_mut(parent).expect("a parent");
        match parent {
            Value::Object(keys) if value.is_null() => {
                keys.remove(key);
            }
            Value::Object(keys) => {
                keys.insert(key.into(), value);
            }
            list => list[key.parse::<usize>().expect("an index")] = value,
        }
        self.write(file, json.to_string())
    }

    /// Writes the tensors again, each as `change` says.
    pub(crate) fn tensors(self, mut change: impl FnMut(Tensor) -> Option<Tensor>) -> Self {
        let bytes = self.bytes("model.safetensors");
        let tensors = SafeTensors::deserialize(&bytes).expect("tensors").tensors().into_iter().map(|(name, view)| {
            let (dtype, shape, data) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            Tensor { name, dtype, shape, data }
        });
        let tensors: Vec<Tensor> = tensors.filter_map(&mut change).collect();
        let views = tensors.iter().map(|tensor| {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.data).expect("a tensor");
            (&tensor.name, view)
        });
        let written = safetensors::serialize(views, None).expect("tensors");
        self.write("model.safetensors", written)
    }

    pub(crate) fn load(&self) -> Result<Model, LoadError> {
        Model::load(self.0.path(), ModelPrecision::Only(Precision::F32))
    }

    /// What is said when it is loaded, without the folder's path.
    pub(crate) fn error(&self) -> String {
        let error = self.load().err().expect("a bad model").to_string();
        assert!(!error.contains('\n'), "{error}");
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

/// A tensor as it is in a file.
#[derive(Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<u8>,
}

impl Tensor {
    pub(crate) fn floats(&self) -> Vec<f32> {
        let bytes = self.data.as_chunks::<4>().0;
        bytes.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }

    /// The same with other numbers of the same width.
    pub(crate) fn with(mut self, floats: &[f32]) -> Self {
        self.data = floats.iter().flat_map(|value| value.to_le_bytes()).collect();
        self
    }
}
