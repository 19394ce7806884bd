//! Requests over HTTP/1, as small as tests need them.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

/// Asks `address` for `path`, with this Authorization header if any. None when what listens there does not speak HTTP/1.
pub fn get(address: &str, path: &str, authorization: Option<&str>) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let authorization = authorization.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let answer = answer.strip_prefix("HTTP/1.0 ").or_else(|| answer.strip_prefix("HTTP/1.1 "))?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer { status: head.get(..3)?.parse().ok()?, body: body.to_owned() })
}
