//! Whatever is written comes back, from memory, from the file and over IPC, in order, and is gone when it is dropped.

mod support;

use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;
use arrow_ipc::reader::StreamDecoder;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use proptest::prelude::*;
use support::{COLUMN_KINDS, Fixture, batch, key, rows};
use tandem_ipc::{BatchStream, DecodeError, PIECE_BYTES};
use tandem_proto::JobId;
use tandem_store::StoreError;

#[derive(Debug, Clone)]
struct Push {
    output: usize,
    rows: usize,
    skip: usize,
}

fn push() -> impl Strategy<Value = Push> {
    (0..4_usize, prop_oneof![0..20_usize, 100..3000_usize], 0..50_usize).prop_map(|(output, rows, skip)| Push {
        output,
        rows,
        skip,
    })
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Decodes with Arrow's own decoder.
fn decode_with_arrow(pieces: &[Bytes]) -> Vec<RecordBatch> {
    let mut decoder = StreamDecoder::new();
    let mut batches = Vec::new();
    for piece in pieces {
        let mut buffer = Buffer::from(piece.clone());
        while !buffer.is_empty() {
            batches.extend(decoder.decode(&mut buffer).unwrap());
        }
    }
    decoder.finish().unwrap();
    batches
}

async fn decode_with_ours(pieces: Vec<Bytes>) -> Vec<RecordBatch> {
    let pieces = stream::iter(pieces).map(Ok::<_, FetchError>);
    BatchStream::new(pieces).try_collect().await.unwrap()
}

async fn check(kinds: &[usize], pushes: &[Push], memory_limit_bytes: u64) {
    let outputs = 4;
    let fixture = Fixture::new(memory_limit_bytes);
    let batches: Vec<_> = pushes
        .iter()
        .enumerate()
        .map(|(i, push)| (push.output, batch(kinds, i, push.rows + push.skip).slice(push.skip, push.rows)))
        .collect();
    let summary = fixture.write(key(1, 0), outputs, &batches).await;

    let expected = |output: usize| {
        let mine: Vec<_> = batches.iter().filter(|(to, _)| *to == output).map(|(_, batch)| batch.clone()).collect();
        rows(&mine)
    };
    let all: Vec<_> = (0..outputs).map(expected).collect();
    assert_eq!(summary.rows as usize, all.iter().map(Vec::len).sum::<usize>());
    assert_eq!(fixture.pool.reserved() as u64, fixture.store.stats().memory_bytes);
    for (output, expected) in all.iter().enumerate() {
        assert_eq!(summary.bytes_per_output[output] == 0, expected.is_empty());
        let read = fixture.read(key(1, 0), output..output + 1).await.unwrap();
        assert_eq!(&rows(&read), expected);
        let pieces = fixture.read_ipc(&[key(1, 0)], output..output + 1).await.unwrap();
        assert!(pieces.iter().all(|piece| !piece.is_empty() && piece.len() <= PIECE_BYTES));
        assert_eq!(&rows(&decode_with_arrow(&pieces)), expected);
        assert_eq!(&rows(&decode_with_ours(pieces).await), expected);
    }
    let mut together = rows(&fixture.read(key(1, 0), 0..outputs).await.unwrap());
    let mut expected = all.concat();
    together.sort();
    expected.sort();
    assert_eq!(together, expected);

    fixture.store.drop_job(JobId(7));
    fixture.assert_empty().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_comes_back(
        kinds in prop::collection::vec(0..COLUMN_KINDS, 0..5),
        pushes in prop::collection::vec(push(), 1..20),
        memory_limit_bytes in prop_oneof![Just(0), Just(1 << 10), Just(100 << 10), Just(1 << 30)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(check(&kinds, &pushes, memory_limit_bytes));
    }
}

#[tokio::test]
async fn every_kind_of_column_comes_back_from_memory_and_from_the_file() {
    let pushes: Vec<_> = (0..12).map(|i| Push { output: i % 4, rows: 700, skip: i }).collect();
    for kind in 0..COLUMN_KINDS {
        for memory_limit_bytes in [0, 1 << 30] {
            check(&[kind], &pushes, memory_limit_bytes).await;
        }
    }
}

#[tokio::test]
async fn outputs_of_many_tasks_are_one_stream() {
    let fixture = Fixture::new(200 << 10);
    let kinds = [0, 6, 11, 14];
    let mut expected = Vec::new();
    for task in 0..20 {
        let written = batch(&kinds, task as usize, 500);
        expected.extend(rows(std::slice::from_ref(&written)));
        fixture.write(key(1, task), 3, &[(1, written)]).await;
    }
    assert!(fixture.store.stats().spilled_bytes > 0 && fixture.store.stats().memory_bytes > 0);
    let keys = fixture.store.held();
    let pieces = fixture.read_ipc(&keys, 0..3).await.unwrap();
    assert_eq!(rows(&decode_with_arrow(&pieces)), expected);
    assert_eq!(rows(&decode_with_ours(pieces).await), expected);
    let nothing = fixture.read_ipc(&keys, 0..1).await.unwrap();
    assert!(decode_with_arrow(&nothing).is_empty());
}

#[tokio::test]
async fn small_pushes_become_large_batches() {
    let fixture = Fixture::new(1 << 30);
    let pushes: Vec<_> = (0..2000).map(|i| (i % 2, batch(&[0, 6], i, 16))).collect();
    fixture.write(key(1, 0), 2, &pushes).await;
    let read = fixture.read(key(1, 0), 0..1).await.unwrap();
    assert_eq!(read.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8192, 7808]);
}

#[tokio::test]
async fn a_batch_in_memory_is_handed_out_by_pointer() {
    let fixture = Fixture::new(1 << 30);
    let written = support::numbers(0..8192);
    fixture.write(key(1, 0), 1, &[(0, written.clone())]).await;
    let read = fixture.read(key(1, 0), 0..1).await.unwrap();
    let values = |batch: &RecordBatch| batch.column(0).to_data().buffers()[0].as_ptr();
    assert_eq!(values(&read[0]), values(&written));
}
