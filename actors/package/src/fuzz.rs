//! What must hold of unpacking whatever bytes it meets. Property tests run it, and by hand the targets in `engine/fuzz`.

use std::collections::HashMap;
use std::io::{self, Cursor, Read};

use crate::archive::{Destination, Limits, read};

const LIMITS: Limits = Limits { entries: 40, bytes: 60_000, ratio: 20, small_bytes: 4_000, path_bytes: 100 };
/// Links that a path may go through, as the system counts.
const HOPS: usize = 40;

/// Unpacks `bytes` into a model of a folder. All is within the limits, every path is a new one below folders, and no link leads out.
///
/// # Panics
/// When it is not so.
pub fn archive(bytes: &[u8]) {
    let mut model = Model::default();
    // What is refused half way has been put somewhere too.
    let unpacked = read(Cursor::new(bytes), LIMITS, &mut model);
    assert!(model.bytes <= LIMITS.bytes, "{} bytes were unpacked", model.bytes);
    assert!(model.bytes <= LIMITS.small_bytes.max(bytes.len() as u64 * LIMITS.ratio), "the ratio does not hold");
    assert!(model.nodes.len() <= LIMITS.entries, "{} files and folders were made", model.nodes.len());
    for (path, node) in &model.nodes {
        if let Node::Link(target) = node {
            model.follow(path, target);
        }
    }
    assert!(unpacked.is_err() || unpacked.is_ok_and(|bytes| bytes >= model.bytes), "fewer bytes are counted than came");
}

enum Node {
    File,
    Folder,
    Link(String),
}

/// What a file system would have.
#[derive(Default)]
struct Model {
    nodes: HashMap<String, Node>,
    bytes: u64,
}

impl Model {
    fn add(&mut self, path: &str, node: Node) {
        assert!(!path.is_empty() && path.len() <= LIMITS.path_bytes, "a path of {} bytes", path.len());
        let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains(['\0', '\\']);
        assert!(path.split('/').all(plain), "`{path}` is no plain path");
        for (end, _) in path.match_indices('/') {
            let parent = self.nodes.entry(path[..end].to_owned()).or_insert(Node::Folder);
            assert!(matches!(parent, Node::Folder), "`{path}` goes through what is no folder");
        }
        let is_folder = matches!(node, Node::Folder);
        let earlier = self.nodes.insert(path.to_owned(), node);
        assert!(earlier.is_none_or(|earlier| is_folder && matches!(earlier, Node::Folder)), "`{path}` is made twice");
    }

    /// Goes where the system would go.
    fn follow(&self, path: &str, target: &str) {
        let mut at: Vec<&str> = path.split('/').collect();
        at.pop();
        let mut open: Vec<&str> = target.split('/').rev().collect();
        let mut hops = 0;
        while let Some(part) = open.pop() {
            match part {
                "" => panic!("`{path}` links to `{target}`, which is absolute"),
                "." => {}
                ".." => assert!(at.pop().is_some(), "`{path}` links to `{target}`, which is outside"),
                part => {
                    at.push(part);
                    match self.nodes.get(&at.join("/")) {
                        Some(Node::Folder) => {}
                        Some(Node::Link(next)) if hops < HOPS => {
                            hops += 1;
                            at.pop();
                            open.extend(next.split('/').rev());
                        }
                        // It ends here, or leads nowhere.
                        Some(Node::File | Node::Link(_)) | None => return,
                    }
                }
            }
        }
    }
}

impl Destination for Model {
    fn folder(&mut self, path: &str) -> io::Result<()> {
        self.add(path, Node::Folder);
        Ok(())
    }

    fn file(&mut self, path: &str, _: bool, content: &mut dyn Read) -> io::Result<u64> {
        self.add(path, Node::File);
        let mut buffer = [0; 500];
        let mut bytes = 0;
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(bytes),
                read => {
                    bytes += read as u64;
                    self.bytes += read as u64;
                }
            }
        }
    }

    fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.add(path, Node::Link(target.to_owned()));
        Ok(())
    }

    fn hard_link(&mut self, path: &str, target: &str) -> io::Result<()> {
        assert!(matches!(self.nodes.get(target), Some(Node::File)), "`{path}` is another name of nothing");
        self.add(path, Node::File);
        Ok(())
    }
}
