//! Compiled kernels on disk. A file holds one program and is never changed: it is written beside its place and renamed
//! into it, so that processes may share a folder. A file that is cut short or altered is as good as none.
//!
//! ```text
//! <key>.kernel: magic (8 bytes) │ SHA-256 of the image (32 bytes) │ image
//! ```

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

const MAGIC: &[u8; 8] = b"tandemk1";

/// A folder of compiled kernels.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// Uses `folder`, which need not exist.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_path_buf() }
    }

    /// The image filed under `key`, if there is a whole one.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        let file = fs::read(self.path(key)).ok()?;
        let (head, image) = file.split_at_checked(MAGIC.len() + 32)?;
        let good = head.starts_with(MAGIC) && head[MAGIC.len()..] == Sha256::digest(image)[..];
        good.then(|| image.to_vec())
    }

    /// Files an image. A folder that cannot be written to costs time only, so that is no error; false then.
    pub fn put(&self, key: &str, image: &[u8]) -> bool {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.folder)?;
            let unique = format!("{key}.{}.{:?}.part", std::process::id(), std::thread::current().id());
            let part = self.folder.join(unique.replace(['(', ')'], ""));
            let written = fs::File::create(&part).and_then(|mut file| {
                file.write_all(MAGIC)?;
                file.write_all(&Sha256::digest(image))?;
                file.write_all(image)?;
                file.sync_all()
            });
            let moved = written.and_then(|()| fs::rename(&part, self.path(key)));
            if moved.is_err() {
                // What is left of the attempt is of no use; that it cannot be removed either changes nothing.
                let _ = fs::remove_file(&part);
            }
            moved
        };
        write().is_ok()
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.kernel"))
    }
}
