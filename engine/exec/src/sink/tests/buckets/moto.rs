//! The same over the S3 protocol, against a moto server when Python has one.

#[path = "../../../../../tests/support/moto.rs"]
#[allow(dead_code, unreachable_pub)]
mod server;

use server::Moto;

use super::*;

fn storage(moto: &Moto) -> Arc<Storage> {
    Arc::new(Storage::new(moto.environment().into()))
}

#[tokio::test]
async fn sinks_commit_and_abort_over_s3() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let spec = |mode| SinkSpec {
        partition_by: vec!["day".to_owned()],
        mode,
        ..SinkSpec::new("out", "s3://bucket/a/out", SinkFormat::Parquet)
    };
    let begin = |mode, job| Job { storage: storage(&moto), ..Job::new(spec(mode), job) };

    crate::sink::check_target(&spec(SinkMode::Error), &storage(&moto)).await.unwrap();
    let mut first = begin(SinkMode::Overwrite, 1);
    first.write(0, 0, vec![rows(0, 50)]).await.unwrap();
    assert!(visible(&moto.keys().into_iter().map(|key| (key, Vec::new())).collect()).is_empty());
    first.publish().await;
    first.publish().await;
    let published = moto.keys();
    assert_eq!(published.len(), first.files.len() + 1, "{published:?}");
    assert!(crate::sink::check_target(&spec(SinkMode::Error), &storage(&moto)).await.is_err());

    let mut aborted = begin(SinkMode::Overwrite, 2);
    aborted.attempt(0, 0, vec![rows(0, 10)]).await.unwrap().files();
    aborted.write(0, 1, vec![rows(0, 10)]).await.unwrap();
    assert!(moto.open_uploads() >= 2);
    abort(aborted.job, &aborted.spec, &aborted.files, &aborted.storage).await.unwrap();
    assert_eq!((moto.open_uploads(), moto.keys()), (0, published));

    let mut replacing = begin(SinkMode::Overwrite, 3);
    replacing.attempt(0, 0, vec![rows(0, 10)]).await.unwrap().files();
    replacing.write(0, 1, (0..20).map(|at| rows(at * 10_000, 10_000)).collect()).await.unwrap();
    replacing.publish().await;
    assert!(moto.keys().iter().all(|key| key.contains("0000000000000003")), "{:?}", moto.keys());
    assert_eq!(moto.open_uploads(), 0);
}

#[tokio::test]
async fn a_single_file_is_known_by_its_tag_over_s3() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let begin = |mode, job| {
        let spec = SinkSpec { mode, ..SinkSpec::new("out", "s3://bucket/out.csv", SinkFormat::Csv) };
        Job { storage: storage(&moto), ..Job::new(spec, job) }
    };
    let mut large = begin(SinkMode::Error, 1);
    large.write(0, 0, (0..40).map(|at| rows(at * 10_000, 10_000)).collect()).await.unwrap();
    assert!(large.files[0].parts.len() > 1);
    large.publish().await;
    crate::sink::check_commit(&large.commit(), &large.storage).await.unwrap();
    large.publish().await;

    let [mut first, mut second] = [2, 3].map(|job| begin(SinkMode::Overwrite, job));
    first.write(0, 0, vec![rows(1_000, 20)]).await.unwrap();
    second.write(0, 0, vec![rows(2_000, 20)]).await.unwrap();
    assert_eq!(first.files[0].bytes, second.files[0].bytes);
    first.publish().await;
    first.publish().await;
    abort(second.job, &second.spec, &second.files, &second.storage).await.unwrap();
    // What it fails with is the server's own affair.
    publish(&second.commit(), &second.storage).await.unwrap_err();
    let mut refused = begin(SinkMode::Error, 4);
    refused.write(0, 0, vec![rows(3_000, 20)]).await.unwrap();
    let error = publish(&refused.commit(), &refused.storage).await.unwrap_err();
    assert!(matches!(error, SinkError::Occupied { .. }), "{error}");
}

#[tokio::test]
async fn a_bucket_that_does_not_exist_is_an_error_before_anything_runs() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let spec = SinkSpec::new("out", "s3://nowhere/out", SinkFormat::Csv);
    let error = crate::sink::check_target(&spec, &storage(&moto)).await.unwrap_err().to_string();
    assert!(error.contains("sink `out`") && error.contains("s3://nowhere/out"), "{error}");
}
