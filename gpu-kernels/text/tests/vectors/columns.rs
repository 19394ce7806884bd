//! Columns of Arrow say what slices say.

use arrow_array::{Array, Float32Array, StringArray};
use tandem_kernels::encoder::Precision;
use tandem_text::columns::vector_type;

use crate::tiny::model;

#[test]
fn a_column_of_texts_has_the_vectors_of_its_texts() {
    let model = model(Precision::F32);
    let texts = [Some("the market report"), None, Some(""), Some("a vector")];
    let embeddings = model.embed_column(&StringArray::from(texts.to_vec()), 1).expect("good texts");
    let column = embeddings.to_column();
    assert_eq!(Some(column.data_type()), vector_type(model.dimension()).as_ref());
    for (row, text) in texts.into_iter().enumerate() {
        let alone = model.embed(&[text.unwrap_or_default()], 1).expect("a good text");
        assert_eq!(column.is_valid(row), alone.vector(0).is_some(), "{text:?}");
        let values = column.value(row);
        let values = values.as_any().downcast_ref::<Float32Array>().expect("floats").values();
        assert_eq!(alone.vector(0).unwrap_or(&vec![0.0; model.dimension()]), &values[..], "{text:?}");
    }
    assert_eq!(vector_type(1 << 40), None);
}
