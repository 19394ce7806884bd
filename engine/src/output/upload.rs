//! How much of a package has been sent, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// The display of one upload, on standard error. Gone when it is dropped; elsewhere than on a terminal there is none.
pub(crate) struct UploadProgress {
    bar: ProgressBar,
}

impl UploadProgress {
    /// Nothing is shown before the first update.
    pub(crate) fn new(bytes: u64) -> Self {
        let style = ProgressStyle::with_template("bringing the package {bar:24} {bytes}/{total_bytes}, {eta} left");
        Self { bar: ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())) }
    }

    /// Shows that `bytes` are there.
    pub(crate) fn update(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }
}

impl Drop for UploadProgress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
