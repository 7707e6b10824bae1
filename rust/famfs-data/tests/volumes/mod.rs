//! A volume of its own for each test.

use famfs::{MkfsOptions, mounts};
use std::path::PathBuf;

/// A mounted volume, unmounted when the test ends.
pub(crate) struct Mounted {
    dir: tempfile::TempDir,
}

impl Mounted {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = MkfsOptions {
            size: Some(128 << 20),
            sparse: true,
            ..MkfsOptions::default()
        };
        famfs::mkfs(&dir.path().join("volume"), &options).unwrap();
        std::fs::create_dir(dir.path().join("mnt")).unwrap();
        mounts::mount(&dir.path().join("volume"), &dir.path().join("mnt"), None).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("mnt").join(name)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = mounts::umount(&self.dir.path().join("mnt"), false);
    }
}
