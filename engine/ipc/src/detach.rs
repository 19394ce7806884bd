//! Gives the arrays of a decoded batch memory of their own.
//! What Arrow decodes from buffers that were not compressed are views into the message: a column that is kept would keep all
//! others too, and whoever counts the memory of columns would count the message once for each.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// `batch` without buffers in `body`.
pub(crate) fn detach(batch: &RecordBatch, body: &[u8]) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| detach_array(column, body)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// `array` without buffers in `body`.
pub(crate) fn detach_array(array: &ArrayRef, body: &[u8]) -> ArrayRef {
    let addresses = body.as_ptr_range();
    let body = addresses.start as usize..addresses.end as usize;
    let data = array.to_data();
    if touches(&data, &body) { make_array(detach_data(data, &body)) } else { Arc::clone(array) }
}

/// Whether any buffer of `data` is in `body`.
fn touches(data: &ArrayData, body: &Range<usize>) -> bool {
    let buffers = data.buffers().iter().chain(data.nulls().map(NullBuffer::buffer));
    buffers.into_iter().any(|buffer| is_in(buffer, body)) || data.child_data().iter().any(|child| touches(child, body))
}

fn detach_data(data: ArrayData, body: &Range<usize>) -> ArrayData {
    let buffers = data.buffers().iter().map(|buffer| detach_buffer(buffer, body)).collect();
    let children = data.child_data().iter().map(|child| detach_data(child.clone(), body)).collect();
    let nulls = data.nulls().map(|nulls| {
        let bits = BooleanBuffer::new(detach_buffer(nulls.buffer(), body), nulls.offset(), nulls.len());
        // SAFETY: the same bits as before, so the same number of them is unset.
        unsafe { NullBuffer::new_unchecked(bits, nulls.null_count()) }
    });
    let builder = data.into_builder().nulls(nulls).buffers(buffers).child_data(children);
    // SAFETY: `data` is of an array that Arrow's decoder has checked. Type, length and offset stay, and every buffer that
    // changes place keeps its bytes and is aligned for all types.
    unsafe { builder.build_unchecked() }
}

fn detach_buffer(buffer: &Buffer, body: &Range<usize>) -> Buffer {
    if is_in(buffer, body) { Buffer::from_slice_ref(buffer.as_slice()) } else { buffer.clone() }
}

fn is_in(buffer: &Buffer, body: &Range<usize>) -> bool {
    body.contains(&(buffer.as_ptr() as usize))
}
