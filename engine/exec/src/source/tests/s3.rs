//! Sources over the S3 protocol, against a server in this process that knows just what reading needs.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;

use url::Url;

use super::*;

/// Objects of the bucket `bucket` by key. Whatever is below `denied/` is refused.
#[derive(Clone, Default)]
struct Bucket(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Bucket {
    fn put(&self, key: &str, content: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().insert(key.to_owned(), content.into());
    }

    /// Serves until the test process ends; connections are one request long.
    fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let bucket = self.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let bucket = bucket.clone();
                // A client that goes away in the middle of an answer is no failure of the server.
                std::thread::spawn(move || bucket.answer(connection).ok());
            }
        });
        address
    }

    fn answer(&self, mut connection: TcpStream) -> std::io::Result<()> {
        let mut lines = BufReader::new(connection.try_clone()?).lines();
        let request = lines.next().transpose()?.unwrap_or_default();
        let mut range = None;
        for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
            if let Some(bytes) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                let (start, end) = bytes.split_once('-').unwrap();
                range = Some((start.parse::<usize>().unwrap(), end.parse::<usize>().unwrap()));
            }
        }
        let (method, target) = request.split_once(' ').unwrap();
        let url = Url::parse(&format!("http://localhost{}", target.split(' ').next().unwrap())).unwrap();
        let objects = self.0.lock().unwrap().clone();
        let prefix = url.query_pairs().find(|(name, _)| name == "prefix").map(|(_, prefix)| prefix.into_owned());
        let key = url.path().strip_prefix("/bucket/").unwrap_or_default().to_owned();
        let (head, body) = if prefix.as_ref().unwrap_or(&key).starts_with("denied") {
            ("403 Forbidden\r\n".to_owned(), b"<Error><Code>AccessDenied</Code></Error>".to_vec())
        } else if url.query().is_some_and(|query| query.contains("list-type=2")) {
            ("200 OK\r\n".to_owned(), listing(&objects, &prefix.unwrap_or_default()).into_bytes())
        } else if let Some(content) = objects.get(&key) {
            let tag =
                format!("ETag: \"{:x}\"\r\n", content.iter().fold(7_u64, |n, &b| n.wrapping_mul(31) + u64::from(b)));
            let dated = format!("{tag}Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n");
            match range {
                None => (format!("200 OK\r\n{dated}"), content.clone()),
                Some((start, end)) => {
                    let end = end.min(content.len() - 1);
                    let place = format!("Content-Range: bytes {start}-{end}/{}\r\n", content.len());
                    (format!("206 Partial Content\r\n{dated}{place}"), content[start..=end].to_vec())
                }
            }
        } else {
            ("404 Not Found\r\n".to_owned(), b"<Error><Code>NoSuchKey</Code></Error>".to_vec())
        };
        write!(connection, "HTTP/1.1 {head}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
        if method != "HEAD" {
            connection.write_all(&body)?;
        }
        Ok(())
    }
}

fn listing(objects: &BTreeMap<String, Vec<u8>>, prefix: &str) -> String {
    let entry = |(key, content): (&String, &Vec<u8>)| {
        let tag = content.iter().fold(7_u64, |n, &b| n.wrapping_mul(31) + u64::from(b));
        format!(
            "<Contents><Key>{key}</Key><LastModified>2024-01-01T00:00:00.123Z</LastModified><ETag>\"{tag:x}\"</ETag>\
             <Size>{}</Size></Contents>",
            content.len()
        )
    };
    let found: String = objects.iter().filter(|(key, _)| key.starts_with(prefix)).map(entry).collect();
    format!("<ListBucketResult><IsTruncated>false</IsTruncated>{found}</ListBucketResult>")
}

impl Fixture {
    fn with_bucket(bucket: &Bucket) -> Self {
        let environment = [
            ("AWS_ENDPOINT_URL", format!("http://{}", bucket.serve())),
            ("AWS_ACCESS_KEY_ID", "id".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ];
        let storage = Storage::new(environment.map(|(key, value)| (key.to_owned(), value)).into());
        Self { storage: Arc::new(storage), ..Self::new() }
    }
}

#[tokio::test]
async fn a_folder_of_a_bucket_is_a_table_split_like_a_local_one() {
    let bucket = Bucket::default();
    let (text, bad) = dirty_csv(120_000);
    bucket.put("in/a.csv", text);
    bucket.put("in/b.csv.gz", gzip("id,n,note\nlast,120000,\n"));
    bucket.put("in/_manifest.json", "{}");
    bucket.put("other.csv", "not read");
    let fixture = Fixture::with_bucket(&bucket);
    let spec = SourceSpec {
        schema: Some("id string, n bigint, note string".into()),
        on_bad_row: Some(OnBadRow::Null),
        ..fixture.spec("s3://bucket/in/")
    };
    let rows = fixture.rows(&spec, "SELECT count(*), count(*) - count(n), max(n), count(DISTINCT id) FROM t").await;
    assert_eq!(rows, format!("|120001|{}|120000|120001|", bad.len()));
    let rows = fixture.rows(&fixture.spec("s3://bucket/**/b.csv.gz"), "SELECT id FROM t").await;
    assert_eq!(rows, "|last|");
}

#[tokio::test]
async fn denied_and_missing_objects_are_named_at_once() {
    let bucket = Bucket::default();
    bucket.put("denied/a.csv", "a\n1\n");
    let fixture = Fixture::with_bucket(&bucket);
    for (path, expected) in [
        ("s3://bucket/denied/a.csv", "access denied: s3://bucket/denied/a.csv"),
        ("s3://bucket/denied/", "access denied (AccessDenied): s3://bucket/denied/"),
        ("s3://bucket/nope.csv", "no such file or folder: s3://bucket/nope.csv"),
        ("s3://bucket/x/*.csv", "no file matches: s3://bucket/x/*.csv"),
    ] {
        let error = fixture.refused(&fixture.spec(path)).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn an_object_that_changed_since_planning_fails_the_task() {
    let bucket = Bucket::default();
    bucket.put("a.csv", "id\nx\n");
    let fixture = Fixture::with_bucket(&bucket);
    let plan = fixture.plan(&fixture.spec("s3://bucket/a.csv"), "SELECT * FROM t", 1).await.unwrap();
    bucket.put("a.csv", "id\ny\n");
    let error = fixture.run(plan).await.0.unwrap_err();
    assert!(matches!(&error, TaskError::Fatal(message) if message.contains("s3://bucket/a.csv")), "{error:?}");
}
