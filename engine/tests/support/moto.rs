//! A moto server, which speaks the S3 protocol, with one bucket of this test's own.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The name of the bucket.
pub const BUCKET: &str = "bucket";

/// Nobody looks at the signature, but objects are only for those who show one.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// Ends when dropped.
pub struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    /// A server that lets everyone in, or what is missing here to have one.
    pub fn start() -> Result<Self, String> {
        Self::with_settings(&[])
    }

    /// A server that refuses every request after the one that makes the bucket.
    pub fn that_denies() -> Result<Self, String> {
        Self::with_settings(&[("INITIAL_NO_AUTH_ACTION_COUNT", "1")])
    }

    fn with_settings(settings: &[(&str, &str)]) -> Result<Self, String> {
        let has_moto = Command::new("python3").args(["-c", "import moto.server, flask"]).output();
        if !has_moto.is_ok_and(|output| output.status.success()) {
            return Err("python3 has no moto server: pip install 'moto[server]'".to_owned());
        }
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .map_err(|error| error.to_string())?
            .port();
        let mut process = Command::new("python3")
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()])
            .envs(settings.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let log = process.stderr.take().map(BufReader::new);
        let moto = Self { process, port };
        let mut lines = log.into_iter().flat_map(BufRead::lines).map_while(Result::ok);
        if !lines.any(|line| line.contains("Running on")) {
            return Err("the moto server ended at once".to_owned());
        }
        // Read on, so that the server never waits for room in the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        moto.request("PUT", &format!("/{BUCKET}"), &[]).map_err(|error| error.to_string())?;
        Ok(moto)
    }

    /// Variables by which a client finds it.
    pub fn environment(&self) -> [(String, String); 3] {
        [
            ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port)),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
    }

    /// Makes `file` the object `key`.
    pub fn put(&self, key: &str, file: &Path) -> std::io::Result<()> {
        let mut stream = self.ask("PUT", &format!("/{BUCKET}/{key}"), std::fs::metadata(file)?.len())?;
        std::io::copy(&mut std::fs::File::open(file)?, &mut stream)?;
        body(stream).map(drop)
    }

    /// Writes every object whose key starts with `prefix` into `folder`, under its key.
    pub fn download(&self, prefix: &str, folder: &Path) -> std::io::Result<()> {
        for key in self.keys().into_iter().filter(|key| key.starts_with(prefix)) {
            let file = folder.join(&key);
            std::fs::create_dir_all(file.parent().unwrap_or(folder))?;
            std::fs::write(file, self.request("GET", &format!("/{BUCKET}/{}", key.replace('=', "%3D")), &[])?)?;
        }
        Ok(())
    }

    /// Keys of all objects: up to 1000, which is one page.
    pub fn keys(&self) -> BTreeSet<String> {
        let listing = self.text("GET", &format!("/{BUCKET}?list-type=2"));
        assert!(listing.contains("<IsTruncated>false</IsTruncated>"), "more than a page of objects");
        let keys = listing.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>"));
        keys.map(|(key, _)| key.to_owned()).collect()
    }

    /// Uploads that are neither completed nor aborted.
    pub fn open_uploads(&self) -> usize {
        self.text("GET", &format!("/{BUCKET}?uploads")).matches("<UploadId>").count()
    }

    fn text(&self, method: &str, path: &str) -> String {
        String::from_utf8(self.request(method, path, &[]).expect("an answer")).expect("text")
    }

    fn request(&self, method: &str, path: &str, content: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut stream = self.ask(method, path, content.len() as u64)?;
        stream.write_all(content)?;
        body(stream)
    }

    fn ask(&self, method: &str, path: &str, length: u64) -> std::io::Result<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {length}\r\nAuthorization: {SIGNED}\r\n\r\n"
        )?;
        Ok(stream)
    }
}

/// The body of the answer, if it is one of success.
fn body(mut stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end_of_head = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    let body = answer.split_off(end_of_head);
    match answer.get(9..12) {
        Some([b'2', ..]) => Ok(body),
        _ => Err(std::io::Error::other(String::from_utf8_lossy(&answer).into_owned())),
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("the moto server of this test keeps running: {error}");
        }
    }
}
