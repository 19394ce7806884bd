//! The same over the S3 protocol, against a moto server when Python has one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use super::*;

/// A moto server of this test's own.
struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    /// Starts one, or says what is missing.
    fn start() -> std::result::Result<Self, String> {
        let has_moto = Command::new("python3").args(["-c", "import moto.server, flask"]).output();
        if !has_moto.is_ok_and(|output| output.status.success()) {
            return Err("python3 has no moto server: pip install 'moto[server]'".to_owned());
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|e| e.to_string())?
            .port();
        let mut process = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let log = process.stderr.take().map(BufReader::new);
        let moto = Self { process, port };
        let mut lines = log.into_iter().flat_map(BufRead::lines).map_while(std::result::Result::ok);
        if !lines.any(|line| line.contains("Running on")) {
            return Err("the moto server ended at once".to_owned());
        }
        // Read on, so that the server never waits for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        moto.request("PUT", "/bucket").map_err(|error| error.to_string())?;
        Ok(moto)
    }

    /// The body of the answer to a request without a body.
    fn request(&self, method: &str, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(stream, "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.to_owned()))
    }

    fn storage(&self) -> Arc<Storage> {
        let environment = [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ];
        Arc::new(Storage::new(environment.map(|(key, value)| (key.to_owned(), value)).into()))
    }

    fn open_uploads(&self) -> usize {
        self.request("GET", "/bucket?uploads").unwrap().matches("<UploadId>").count()
    }

    fn keys(&self) -> BTreeSet<String> {
        let listing = self.request("GET", "/bucket?list-type=2").unwrap();
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the moto server of this test keeps running: {error}");
        }
    }
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
    let begin = |mode, job| Job { storage: moto.storage(), ..Job::new(spec(mode), job) };

    crate::sink::check_target(&spec(SinkMode::Error), &moto.storage()).await.unwrap();
    let mut first = begin(SinkMode::Overwrite, 1);
    first.write(0, 0, vec![rows(0, 50)]).await.unwrap();
    assert!(visible(&moto.keys().into_iter().map(|key| (key, Vec::new())).collect()).is_empty());
    first.publish().await;
    first.publish().await;
    let published = moto.keys();
    assert_eq!(published.len(), first.files.len() + 1, "{published:?}");
    assert!(crate::sink::check_target(&spec(SinkMode::Error), &moto.storage()).await.is_err());

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
async fn a_bucket_that_does_not_exist_is_an_error_before_anything_runs() {
    let moto = match Moto::start() {
        Ok(moto) => moto,
        Err(reason) => return eprintln!("skipped: {reason}"),
    };
    let spec = SinkSpec::new("out", "s3://nowhere/out", SinkFormat::Csv);
    let error = crate::sink::check_target(&spec, &moto.storage()).await.unwrap_err().to_string();
    assert!(error.contains("sink `out`") && error.contains("s3://nowhere/out"), "{error}");
}
