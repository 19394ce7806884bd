//! Copies the used part of arrays that hold on to much more memory than they show.
//! A view array, a slice or a dictionary may keep buffers alive that are far larger than its rows; kept for the length of a
//! stage, or written whole into an IPC message, these would cost what no budget counted.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, MAX_INLINE_VIEW_LEN, MutableArrayData, make_array};
use arrow::datatypes::{ArrowNativeType, DataType};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use arrow_select::dictionary::garbage_collect_any_dictionary;

/// Waste per array below which copying does not pay.
const TOLERATED_BYTES: usize = 1024;

/// `batch` with no column that holds more than twice the memory its rows need. Columns that need no copy are shared.
pub fn compact(batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
    if !batch.columns().iter().any(|column| is_wasteful(&column.to_data())) {
        return Ok(batch);
    }
    let columns = batch.columns().iter().map(compact_array).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

fn compact_array(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    if !is_wasteful(&array.to_data()) {
        return Ok(Arc::clone(array));
    }
    match array.data_type() {
        DataType::Utf8View => Ok(Arc::new(array.as_string_view().gc())),
        DataType::BinaryView => Ok(Arc::new(array.as_binary_view().gc())),
        DataType::Dictionary(..) => garbage_collect_any_dictionary(array.as_any_dictionary()),
        _ => compact_children(copy(array)?),
    }
}

/// The used range alone. Children of variable length come out cut to it, but their views and dictionaries whole.
fn copy(array: &ArrayRef) -> Result<ArrayData, ArrowError> {
    let data = array.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    Ok(copy.freeze())
}

fn compact_children(data: ArrayData) -> Result<ArrayRef, ArrowError> {
    if !data.child_data().iter().any(is_wasteful) {
        return Ok(make_array(data));
    }
    let compact_child = |child: &ArrayData| Ok(compact_array(&make_array(child.clone()))?.to_data());
    let children = data.child_data().iter().map(compact_child).collect::<Result<_, ArrowError>>()?;
    Ok(make_array(data.into_builder().child_data(children).build()?))
}

fn is_wasteful(data: &ArrayData) -> bool {
    needed_bytes(data).is_some_and(|needed| data.get_buffer_memory_size() > 2 * needed + TOLERATED_BYTES)
}

/// Bytes that the rows of `data` need; none for a type that cannot say.
fn needed_bytes(data: &ArrayData) -> Option<usize> {
    let nulls = if data.nulls().is_some() { data.len().div_ceil(8) } else { 0 };
    let bytes = match data.data_type() {
        DataType::Utf8View | DataType::BinaryView => view_bytes(data),
        DataType::List(_) | DataType::Map(..) => list_bytes::<i32>(data)?,
        DataType::LargeList(_) => list_bytes::<i64>(data)?,
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).ok()?;
            needed_bytes(&data.child_data()[0].slice(data.offset() * size, data.len() * size))?
        }
        DataType::Struct(_) => data.child_data().iter().map(needed_bytes).sum::<Option<usize>>()?,
        DataType::Dictionary(key, _) => {
            let values = &data.child_data()[0];
            // A dictionary with more values than rows is worth at most one value a row.
            let all = needed_bytes(values)?;
            let used = if values.len() > data.len() { all / values.len() * data.len() } else { all };
            data.len() * key.primitive_width()? + used
        }
        _ => return data.get_slice_memory_size().ok(),
    };
    Some(bytes + nulls)
}

fn view_bytes(data: &ArrayData) -> usize {
    let views = &data.buffers()[0].typed_data::<u128>()[data.offset()..data.offset() + data.len()];
    let lengths = views.iter().map(|view| *view as u32).filter(|len| *len > MAX_INLINE_VIEW_LEN);
    size_of_val(views) + lengths.map(|len| len as usize).sum::<usize>()
}

fn list_bytes<O: ArrowNativeType>(data: &ArrayData) -> Option<usize> {
    if data.is_empty() {
        return Some(0);
    }
    let offsets = &data.buffers()[0].typed_data::<O>()[data.offset()..=data.offset() + data.len()];
    let (start, end) = (offsets[0].as_usize(), offsets[data.len()].as_usize());
    let values = needed_bytes(&data.child_data()[0].slice(start, end - start))?;
    Some(size_of_val(offsets) + values)
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, ListBuilder, StringArray, StringViewArray, StringViewBuilder};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn check(array: ArrayRef) {
        let whole = RecordBatch::try_from_iter([("c", array)]).unwrap();
        let held = RecordBatch::get_array_memory_size;
        assert_eq!(held(&compact(whole.clone()).unwrap()), held(&whole), "a full array is shared");
        let slice = whole.slice(1_000, 10);
        let compacted = compact(slice.clone()).unwrap();
        assert_eq!(compacted, slice);
        assert!(held(&compacted) < 4_000, "{} still holds {}", slice.schema(), held(&compacted));
    }

    fn text(i: usize) -> String {
        format!("a string too long to be inlined {i}")
    }

    #[test]
    fn a_small_slice_lets_go_of_big_buffers() {
        check(Arc::new(Int64Array::from_iter_values(0..100_000)));
        check(Arc::new(StringArray::from_iter_values((0..20_000).map(text))));
        check(Arc::new(StringViewArray::from_iter_values((0..20_000).map(text))));
        let dictionary: DictionaryArray<Int32Type> =
            (0..20_000).map(text).collect::<Vec<_>>().iter().map(|s| s.as_str()).collect();
        check(Arc::new(dictionary));
        let mut lists = ListBuilder::new(StringViewBuilder::new());
        (0..20_000).for_each(|i| lists.append_value([Some(text(i)), None]));
        check(Arc::new(lists.finish()));
    }
}
