//! Texts and vectors as columns of Arrow, for all who keep them so.

use std::sync::Arc;

use arrow_array::{Array, FixedSizeListArray, Float32Array, StringArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, FieldRef};

use crate::embed::{EmbedError, Embeddings};
use crate::model::Model;

/// The type of a column of vectors of `dimension` values; none if no column can have so long ones.
pub fn vector_type(dimension: usize) -> Option<DataType> {
    Some(DataType::FixedSizeList(value(), i32::try_from(dimension).ok()?))
}

fn value() -> FieldRef {
    Arc::new(Field::new("item", DataType::Float32, false))
}

impl Embeddings {
    /// The vectors as a column of [`vector_type`], null for texts that have none.
    ///
    /// # Panics
    /// If vectors are longer than any that a column can have, which no model's are.
    pub fn to_column(&self) -> FixedSizeListArray {
        let dimension = i32::try_from(self.dimension()).expect("a model's vectors fit into a column");
        let mut values = Vec::with_capacity(self.len() * self.dimension());
        let mut valid = Vec::with_capacity(self.len());
        for text in 0..self.len() {
            let vector = self.vector(text);
            valid.push(vector.is_some());
            match vector {
                Some(vector) => values.extend_from_slice(vector),
                None => values.resize(values.len() + self.dimension(), 0.0),
            }
        }
        let values = Arc::new(Float32Array::from(values));
        FixedSizeListArray::new(value(), dimension, values, Some(NullBuffer::from(valid)))
    }
}

impl Model {
    /// The vectors of a column of texts, in the manner of [`Model::embed`]; a text that is null has none.
    ///
    /// # Errors
    /// As [`Model::embed`].
    pub fn embed_column(&self, texts: &StringArray, threads: usize) -> Result<Embeddings, EmbedError> {
        // What is under a null may be anything.
        let text = |row| if texts.is_valid(row) { texts.value(row) } else { "" };
        let texts: Vec<&str> = (0..texts.len()).map(text).collect();
        self.embed(&texts, threads)
    }
}
