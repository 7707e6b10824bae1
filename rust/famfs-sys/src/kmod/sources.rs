//! The module's sources, which travel with the program: who installed famfs by pip can build it.
//!
//! They are data here, under their own license (GPL-2.0), which is among them.

use std::fs;
use std::io;
use std::path::Path;

/// A file of the module's folder.
pub(super) struct Source {
    pub(super) name: &'static str,
    pub(super) content: &'static [u8],
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(Source {
            name: $name,
            content: include_bytes!(concat!("../../../../kmod/", $name)),
        }),*]
    };
}

/// All that a build takes, and DKMS.
pub(super) const SOURCES: &[Source] = sources![
    "Kbuild",
    "LICENSE",
    "Makefile",
    "dkms.conf",
    "famfs_compat.h",
    "famfs_device.c",
    "famfs_file.c",
    "famfs_inode.c",
    "famfs_internal.h",
    "famfs_ioctl.c",
    "famfs_ioctl.h",
    "famfs_map.c",
    "famfs_map.h",
    "famfs_ras.c",
    "famfs_retire.c",
    "famfs_super.c",
    "famfs_sysfs.c",
    "famfs_trace.h",
];

/// Writes them into a folder that is there.
pub(super) fn write(folder: &Path) -> io::Result<()> {
    SOURCES
        .iter()
        .try_for_each(|source| fs::write(folder.join(source.name), source.content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// What stands in the folder and is no source: what builds leave is not looked at.
    fn is_source(name: &str) -> bool {
        let path = Path::new(name);
        let is_code = path.extension().is_some_and(|end| end == "c" || end == "h");
        is_code && !name.ends_with(".mod.c")
            || matches!(name, "Kbuild" | "LICENSE" | "Makefile" | "dkms.conf")
    }

    #[test]
    fn they_are_all_that_stand_in_the_folder() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../kmod");
        let mut there: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| is_source(name))
            .collect();
        there.sort_unstable();
        let mut ours: Vec<_> = SOURCES.iter().map(|source| source.name).collect();
        ours.sort_unstable();
        assert_eq!(ours, there);
    }

    #[test]
    fn dkms_is_told_this_version() {
        let settings = SOURCES.iter().find(|source| source.name == "dkms.conf");
        let text = std::str::from_utf8(settings.unwrap().content).unwrap();
        let line = format!("PACKAGE_VERSION=\"{}\"", crate::kmod::VERSION);
        assert!(text.lines().any(|found| found == line));
    }
}
