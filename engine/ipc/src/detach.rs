//! Gives the arrays of a decoded batch memory of their own.
//! What Arrow decodes from buffers that were not compressed are views into the message: a column that is kept would keep all
//! others too, and whoever counts the memory of columns would count the message once for each.

use std::ops::Range;

use arrow::array::{ArrayData, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::error::ArrowError;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};

/// `batch` without buffers in `body`.
pub(crate) fn detach(batch: &RecordBatch, body: &[u8]) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().map(|column| detach_array(column, body)).collect::<Result<_, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(batch.schema(), columns, &options)
}

/// `array` without buffers in `body`.
pub(crate) fn detach_array(array: &ArrayRef, body: &[u8]) -> Result<ArrayRef, ArrowError> {
    let addresses = body.as_ptr_range();
    Ok(make_array(detach_data(array.to_data(), &(addresses.start as usize..addresses.end as usize))?))
}

fn detach_data(data: ArrayData, body: &Range<usize>) -> Result<ArrayData, ArrowError> {
    let buffers = data.buffers().iter().map(|buffer| detach_buffer(buffer, body)).collect();
    let children = data.child_data().iter().map(|child| detach_data(child.clone(), body));
    let children = children.collect::<Result<_, _>>()?;
    let nulls = data.nulls().map(|nulls| {
        let bits = BooleanBuffer::new(detach_buffer(nulls.buffer(), body), nulls.offset(), nulls.len());
        NullBuffer::new(bits)
    });
    data.into_builder().nulls(nulls).buffers(buffers).child_data(children).build()
}

fn detach_buffer(buffer: &Buffer, body: &Range<usize>) -> Buffer {
    if body.contains(&(buffer.as_ptr() as usize)) { Buffer::from_slice_ref(buffer.as_slice()) } else { buffer.clone() }
}
