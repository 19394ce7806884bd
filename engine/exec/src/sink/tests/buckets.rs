//! Sinks in a bucket: visible only when published, whole when cut off and repeated, and nothing left behind.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use md5::{Digest, Md5};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path as Key;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

use super::*;
use crate::sink::{SinkError, abort};

mod moto;

/// A bucket in memory that knows its open uploads and whose client dies after a number of changes.
#[derive(Debug)]
struct Bucket {
    memory: InMemory,
    open: std::sync::Mutex<BTreeSet<MultipartId>>,
    /// The digests of the parts of uploads.
    parts: std::sync::Mutex<BTreeMap<(MultipartId, usize), Vec<u8>>>,
    /// The tags of objects that were uploaded.
    tags: std::sync::Mutex<BTreeMap<Key, String>>,
    changes_left: AtomicUsize,
}

impl std::fmt::Display for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bucket")
    }
}

fn dead() -> Error {
    Error::Generic { store: "Bucket", source: "the process is dead".into() }
}

impl Bucket {
    fn new() -> Arc<Self> {
        let changes_left = AtomicUsize::new(usize::MAX);
        let (open, parts, tags) = Default::default();
        Arc::new(Self { memory: InMemory::new(), open, parts, tags, changes_left })
    }

    /// Whether a change may happen at all, and whether its outcome is still heard of.
    fn begin_change(&self) -> Result<bool> {
        let left = self.changes_left.load(Ordering::SeqCst);
        self.changes_left.store(left.saturating_sub(1), Ordering::SeqCst);
        if left == 0 { Err(dead()) } else { Ok(left > 1) }
    }

    fn die_after(&self, changes: usize) {
        self.changes_left.store(changes, Ordering::SeqCst);
    }

    fn close(&self, path: &Key, id: &MultipartId) -> Result<()> {
        // As S3 answers for an upload that is completed or aborted.
        let missing = || Error::NotFound { path: path.to_string(), source: "no such upload".into() };
        if self.open.lock().unwrap().remove(id) { Ok(()) } else { Err(missing()) }
    }

    /// What S3 tells of an object whose description in memory is `meta`.
    fn tagged(&self, mut meta: ObjectMeta) -> ObjectMeta {
        if let Some(tag) = self.tags.lock().unwrap().get(&meta.location) {
            meta.e_tag = Some(tag.clone());
        }
        meta
    }

    /// All objects, by key.
    async fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        let keys: Vec<_> = self.memory.list(None).map_ok(|object| object.location).try_collect().await.unwrap();
        let mut objects = BTreeMap::new();
        for key in keys {
            let data = self.memory.get(&key).await.unwrap().bytes().await.unwrap();
            objects.insert(key.to_string(), data.to_vec());
        }
        objects
    }

    fn open_uploads(&self) -> usize {
        self.open.lock().unwrap().len()
    }
}

#[async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, location: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let heard = self.begin_change()?;
        let done = self.memory.put_opts(location, payload, options).await?;
        self.tags.lock().unwrap().remove(location);
        if heard { Ok(done) } else { Err(dead()) }
    }

    async fn put_multipart_opts(&self, _: &Key, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(Error::NotImplemented { operation: "put_multipart_opts".into(), implementer: "Bucket".into() })
    }

    async fn get_opts(&self, location: &Key, options: GetOptions) -> Result<GetResult> {
        let found = self.memory.get_opts(location, options).await?;
        Ok(GetResult { meta: self.tagged(found.meta.clone()), ..found })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        let memory = self.memory.clone();
        let left = self.changes_left.load(Ordering::SeqCst);
        let mut count = 0;
        let deletes = locations.then(move |location| {
            count += 1;
            let (alive, memory) = (count <= left, memory.clone());
            async move {
                if !alive {
                    return Err(dead());
                }
                let location = location?;
                memory.delete(&location).await.map(|()| location)
            }
        });
        deletes.boxed()
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.memory.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.memory.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.memory.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Bucket {
    async fn create_multipart(&self, path: &Key) -> Result<MultipartId> {
        self.begin_change()?;
        let id = self.memory.create_multipart(path).await?;
        self.open.lock().unwrap().insert(id.clone());
        Ok(id)
    }

    async fn put_part(&self, path: &Key, id: &MultipartId, index: usize, data: PutPayload) -> Result<PartId> {
        self.begin_change()?;
        let mut digest = Md5::new();
        data.iter().for_each(|piece| digest.update(piece));
        let digest = digest.finalize().to_vec();
        self.memory.put_part(path, id, index, data).await?;
        let content_id = format!("\"{}\"", hex(&digest));
        self.parts.lock().unwrap().insert((id.clone(), index), digest);
        Ok(PartId { content_id })
    }

    async fn complete_multipart(&self, path: &Key, id: &MultipartId, parts: Vec<PartId>) -> Result<PutResult> {
        let heard = self.begin_change()?;
        self.close(path, id)?;
        let digests: Vec<u8> =
            (0..parts.len()).flat_map(|index| self.parts.lock().unwrap()[&(id.clone(), index)].clone()).collect();
        let tag = format!("\"{}-{}\"", hex(&Md5::digest(digests)), parts.len());
        let done = self.memory.complete_multipart(path, id, parts).await?;
        self.tags.lock().unwrap().insert(path.clone(), tag);
        if heard { Ok(done) } else { Err(dead()) }
    }

    async fn abort_multipart(&self, path: &Key, id: &MultipartId) -> Result<()> {
        let heard = self.begin_change()?;
        self.close(path, id)?;
        self.memory.abort_multipart(path, id).await?;
        if heard { Ok(()) } else { Err(dead()) }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn job(bucket: &Arc<Bucket>, path: &str, mode: SinkMode, job: u64) -> Job {
    let format = SinkFormat::from_path(path).unwrap_or(SinkFormat::Csv);
    let mut spec = SinkSpec { mode, ..SinkSpec::new("out", path, format) };
    if !spec.is_single_file() {
        spec.partition_by = vec!["day".to_owned()];
    }
    let job = Job::new(spec, job);
    job.storage.register_bucket(&Url::parse("s3://bucket/").unwrap(), bucket.clone());
    job
}

/// A bucket in which job 2 is about to publish over what job 1 published.
async fn scene(path: &str, mode: SinkMode) -> (Arc<Bucket>, Job) {
    let bucket = Bucket::new();
    let mut first = job(&bucket, path, mode, 1);
    first.write(0, 0, vec![rows(1_000, 20)]).await.unwrap();
    first.publish().await;
    let mut second = job(&bucket, path, mode, 2);
    second.attempt(0, 0, vec![rows(0, 30)]).await.unwrap().files();
    second.write(0, 1, vec![rows(0, 30)]).await.unwrap();
    (bucket, second)
}

fn seen(objects: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
    visible(objects).into_iter().map(|key| (key.clone(), objects[&key].clone())).collect()
}

#[tokio::test]
async fn nothing_is_visible_before_the_commit_and_all_of_it_after() {
    let (bucket, second) = scene("s3://bucket/deep/out", SinkMode::Overwrite).await;
    let before = seen(&bucket.objects().await);
    assert!(before.keys().all(|key| key.contains("0000000000000001-")), "{:?}", before.keys());
    second.publish().await;
    let after = bucket.objects().await;
    assert!(seen(&after).keys().all(|key| key.contains("0000000000000002-1-0-1")), "{:?}", after.keys());
    let hidden: Vec<_> = after.keys().filter(|key| key.contains("_tandem")).collect();
    assert_eq!(hidden, ["deep/out/_tandem/manifest-0000000000000002.json"]);
    assert_eq!(bucket.open_uploads(), 0, "the upload of the attempt that lost is ended");
    second.publish().await;
    assert_eq!(bucket.objects().await, after, "publishing again changes nothing");
}

#[tokio::test]
async fn append_keeps_what_is_there_and_adds_once() {
    let (bucket, second) = scene("s3://bucket/out", SinkMode::Append).await;
    let before = seen(&bucket.objects().await);
    second.publish().await;
    second.publish().await;
    let after = seen(&bucket.objects().await);
    assert!(before.iter().all(|(key, data)| after.get(key) == Some(data)));
    assert_eq!(after.len(), before.len() + second.files.len());
}

#[tokio::test]
async fn publishing_ends_in_the_same_state_wherever_it_was_cut_off() {
    let cases = [
        ("s3://bucket/out", SinkMode::Overwrite),
        ("s3://bucket/out", SinkMode::Append),
        ("s3://bucket/a/out.csv", SinkMode::Overwrite),
    ];
    for (path, mode) in cases {
        let (whole, second) = scene(path, mode).await;
        let old = seen(&whole.objects().await);
        second.publish().await;
        let expected = whole.objects().await;
        for changes in 0.. {
            let (bucket, second) = scene(path, mode).await;
            bucket.die_after(changes);
            let died = publish(&second.commit(), &second.storage).await.is_err();
            bucket.die_after(usize::MAX);
            let cut_off = bucket.objects().await;
            let complete = cut_off.keys().any(|key| key.ends_with("manifest-0000000000000002.json"));
            if path.ends_with("/out") && !complete {
                assert!(
                    old.iter().all(|(key, data)| cut_off.get(key) == Some(data)),
                    "old data is gone before the new is whole"
                );
            }
            if complete {
                assert!(seen(&expected).keys().all(|key| cut_off.contains_key(key)), "a manifest without its files");
            }
            second.publish().await;
            assert_eq!(bucket.objects().await, expected, "{path} {mode:?}, cut off after {changes}");
            assert_eq!(bucket.open_uploads(), 0);
            if !died {
                break;
            }
        }
    }
}

#[tokio::test]
async fn abort_ends_every_upload_also_those_that_nobody_reported() {
    for path in ["s3://bucket/out", "s3://bucket/deep/out.csv"] {
        let (bucket, second) = scene(path, SinkMode::Overwrite).await;
        let before = seen(&bucket.objects().await);
        assert!(bucket.open_uploads() >= 2);
        abort(second.job, &second.spec, &second.files, &second.storage).await.unwrap();
        abort(second.job, &second.spec, &[], &second.storage).await.unwrap();
        assert_eq!(bucket.open_uploads(), 0);
        let after = bucket.objects().await;
        assert_eq!(seen(&after), before);
        assert!(!after.keys().any(|key| key.contains("uploads")), "{:?}", after.keys());
    }
}

#[tokio::test]
async fn a_failed_attempt_ends_its_uploads() {
    let bucket = Bucket::new();
    let mut failing = job(&bucket, "s3://bucket/out", SinkMode::Overwrite, 1);
    failing.spec.partition_by = vec!["key".to_owned()];
    let batches = vec![keyed(["a".to_owned(), "b".to_owned()]), keyed(["x".repeat(300)])];
    failing.write(0, 0, batches).await.unwrap_err();
    assert_eq!((bucket.open_uploads(), bucket.objects().await.len()), (0, 0));
}

#[tokio::test]
async fn large_files_are_uploaded_in_parts() {
    let bucket = Bucket::new();
    let mut large = job(&bucket, "s3://bucket/out.csv", SinkMode::Overwrite, 1);
    large.write(0, 0, (0..60).map(|at| rows(at * 10_000, 10_000)).collect()).await.unwrap();
    assert!(large.files[0].parts.len() >= 3, "{}", large.files[0].parts.len());
    large.publish().await;
    let objects = bucket.objects().await;
    let text = String::from_utf8(objects["out.csv"].clone()).unwrap();
    assert_eq!(text.lines().filter(|line| line.starts_with("599999,")).count(), 1);
    assert_eq!(text.len() as u64, large.files[0].bytes);
}

#[tokio::test]
async fn an_upload_that_is_gone_is_named() {
    let (bucket, second) = scene("s3://bucket/out", SinkMode::Append).await;
    bucket.open.lock().unwrap().clear();
    let error = publish(&second.commit(), &second.storage).await.unwrap_err();
    assert!(matches!(error, SinkError::Lost { .. }) && !error.retryable(), "{error}");
}

#[tokio::test]
async fn an_object_of_the_same_size_is_not_taken_for_a_lost_upload() {
    let bucket = Bucket::new();
    let mut runs = [1, 2].map(|number| job(&bucket, "s3://bucket/out.csv", SinkMode::Overwrite, number));
    for (run, start) in runs.iter_mut().zip([1_000, 2_000]) {
        run.write(0, 0, vec![rows(start, 20)]).await.unwrap();
    }
    assert_eq!(runs[0].files[0].bytes, runs[1].files[0].bytes);
    runs[0].publish().await;
    let before = bucket.objects().await;
    bucket.open.lock().unwrap().clear();
    let error = publish(&runs[1].commit(), &runs[1].storage).await.unwrap_err();
    assert!(matches!(error, SinkError::Lost { .. }), "{error}");
    assert_eq!(bucket.objects().await, before);
}

#[tokio::test]
async fn another_file_of_the_same_size_is_not_replaced() {
    let bucket = Bucket::new();
    let mut late = job(&bucket, "s3://bucket/out.csv", SinkMode::Error, 5);
    late.write(0, 0, vec![rows(0, 5)]).await.unwrap();
    let other = "x".repeat(late.files[0].bytes as usize);
    bucket.put(&Key::from("out.csv"), other.into()).await.unwrap();
    let result = publish(&late.commit(), &late.storage).await;
    assert!(matches!(result, Err(SinkError::Occupied { .. })), "{result:?}");
}

#[tokio::test]
async fn files_side_by_side_do_not_end_each_others_uploads() {
    let bucket = Bucket::new();
    let mut jobs =
        ["s3://bucket/a/one.csv", "s3://bucket/a/two.csv"].map(|path| job(&bucket, path, SinkMode::Error, 5));
    for job in &mut jobs {
        job.write(0, 0, vec![rows(0, 5)]).await.unwrap();
    }
    for job in jobs.iter().chain(&jobs) {
        job.publish().await;
    }
    assert_eq!(bucket.objects().await.into_keys().collect::<Vec<_>>(), ["a/one.csv", "a/two.csv"]);
}

#[tokio::test]
async fn data_that_came_while_the_job_ran_is_not_mixed_with_ours() {
    for path in ["s3://bucket/out", "s3://bucket/out/x.csv"] {
        let bucket = Bucket::new();
        let mut late = job(&bucket, path, SinkMode::Error, 5);
        late.write(0, 0, vec![rows(0, 5)]).await.unwrap();
        bucket.put(&Key::from("out/x.csv"), "other".into()).await.unwrap();
        let result = publish(&late.commit(), &late.storage).await;
        assert!(matches!(result, Err(SinkError::Occupied { .. })), "{result:?}");
        bucket.memory.delete(&Key::from("out/x.csv")).await.unwrap();
        late.publish().await;
    }
}
