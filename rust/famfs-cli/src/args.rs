//! The command line: commands, options and their help.
//!
//! Owns names and defaults. What can only be said of several options together is checked by the
//! commands.

mod files;
mod judges;
mod looks;
mod pictures;
mod system;
mod volumes;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use files::{Cat, Cp, Creat, Interleave, Mkdir, Ownership, Rm, Versions};
pub(crate) use judges::{Check, Chkread, Dump, Flush, Fsck, Getmap, Logplay, Verify};
pub(crate) use looks::{Ls, Show, Stat, Wait, Watch};
pub(crate) use pictures::{DeviceMap, Top};
pub(crate) use system::{
    Dax, DaxBind, DaxDriver, DaxVerb, Kmod, KmodBuild, KmodLoad, KmodVerb, Listing,
};
pub(crate) use volumes::{Demo, Df, Mkfs, Mount, Mounts, Omf, Umount};

/// Files in memory that several hosts share.
///
/// DEV is a device (/dev/daxX.Y, /dev/pmemN) or a backing file, MNT a mount point, and a PATH lies
/// under a mount point. Sizes are written as 4096, 8M or 1GiB; K, M, G and T are powers of 1024.
#[derive(Debug, Parser)]
#[command(
    name = "famfs",
    version,
    max_term_width = 100,
    disable_help_subcommand = false
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a volume on a device or in a backing file
    Mkfs(Mkfs),
    /// Mount a volume, or make and mount one in this host's memory
    #[command(override_usage = "famfs mount [OPTIONS] <DEV> <MNT>\n       \
                                famfs mount [OPTIONS] --embedded <MNT>")]
    Mount(Mount),
    /// Take a mount away
    Umount(Umount),
    /// List the mounts
    Mounts(Mounts),
    /// Show the main job on real data: publish in one process, open in two others
    ///
    /// It runs in the Python package, in a private volume that is gone afterwards.
    Demo(Demo),
    /// Make files of a size, filled with zeros or with seeded content
    Creat(Creat),
    /// Copy files into a volume, out of one, or between two
    Cp(Cp),
    /// Make directories
    Mkdir(Mkdir),
    /// Take names away
    Rm(Rm),
    /// List a directory
    Ls(Ls),
    /// Show all that is known of a file or directory
    Stat(Stat),
    /// Show what a file holds: schema and first rows, shape and first values, or first bytes
    Show(Show),
    /// Wait until something is published under a name
    Wait(Wait),
    /// Print what is published, replaced and removed, as it happens
    ///
    /// A name is watched, and what lies in it where it is a directory. It ends with exit code 0.
    Watch(Watch),
    /// Show how full volumes are
    Df(Df),
    /// Draw what lies where on a device: superblock, log, files by extent, dead and free space
    Map(DeviceMap),
    /// Show what goes on in volumes: what is published, by how many, and how full they are
    ///
    /// On a terminal it stays, until q or Ctrl-C. Elsewhere it prints one look, as with --once.
    Top(Top),
    /// Print files
    Cat(Cat),
    /// List the versions of a file, the newest first
    Versions(Versions),
    /// Compare files with the content that a seed gives
    Verify(Verify),
    /// Write back and drop the cache lines of files
    Flush(Flush),
    /// Print where the bytes of a file lie
    Getmap(Getmap),
    /// Compare what is read with what is mapped
    Chkread(Chkread),
    /// Follow the log, and say what it holds
    Logplay(Logplay),
    /// Judge a volume without mounting it
    ///
    /// Exit code 0: clean; 4: there are findings; 8: it could not be judged; 16: usage.
    Fsck(Fsck),
    /// Check of every file whether it is mapped as the log has it
    ///
    /// The exit code is a sum: 1, files are not; 2, the superblock is bad; 4, the log is.
    Check(Check),
    /// Print all that a volume's log says, as JSON
    ///
    /// Exit codes as for fsck.
    Dump(Dump),
    /// Build, load and unload the kernel module, and say how things stand with it
    Kmod(Kmod),
    /// List dax devices, and bind them to drivers
    Dax(Dax),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man(Man),
}

impl Verb {
    /// Whether its exit codes are those of fsck(8).
    pub(crate) fn is_judge(&self) -> bool {
        matches!(self, Self::Fsck(_) | Self::Dump(_))
    }
}

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Write the pages of all commands into this directory
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds() {
        Cli::command().debug_assert();
    }

    #[test]
    fn each_option_is_documented() {
        fn walk(command: &clap::Command) {
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{} {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(walk);
        }
        walk(&Cli::command());
    }

    #[test]
    fn the_reference_s_forms_are_taken() {
        for line in [
            "famfs mkfs /dev/dax0.0 --size 1GiB --log-size 16M --omf 2.2 -f",
            "famfs mount --embedded --size 64M /mnt/e",
            "famfs mount /dev/dax0.0 /mnt/f --library --shared",
            "famfs creat -s 1M -r -S 42 -m 0600 -u 1 -g 1 /mnt/f/a",
            "famfs creat --size 8M --randomize --seed 42 /mnt/f/a",
            "famfs creat --multi /mnt/f/a,1M,5 --multi /mnt/f/b,2M",
            "famfs creat -s 32M -N 4 -B 8 -C 2M /mnt/f/a",
            "famfs verify -S 42 -f /mnt/f/a",
            "famfs verify --multi /mnt/f/a,5 --multi /mnt/f/b,6",
            "famfs verify /mnt/f/a /mnt/f/b",
            "famfs cp -r -t 4 -m 0644 a b c /mnt/f",
            "famfs getmap -q /mnt/f/a",
            "famfs chkread -s -l /mnt/f",
            "famfs kmod build --kernel 6.12.1-amd64 --headers /usr/src/h --output out",
            "famfs kmod build --dkms",
            "famfs kmod load --module famfs.ko",
            "famfs kmod status --json",
            "famfs dax list --json",
            "famfs dax bind dax0.0",
            "famfs dax bind /dev/dax0.0 device_dax",
            "famfs dax unbind dax0.0",
            "famfs show --rows 3 --json /mnt/f/a",
            "famfs wait --timeout 0.5 /mnt/f/a",
            "famfs watch --timeout 5 --existing --json /mnt/f",
            "famfs map /dev/dax0.0 --svg map.svg",
            "famfs map --json /mnt/f",
            "famfs top",
            "famfs top --interval 0.5 --once --json /mnt/f /mnt/g",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "famfs creat /mnt/f/a",
            "famfs creat -s 1M",
            "famfs creat -s 1.5M /mnt/f/a",
            "famfs creat -s 32M -N 4 /mnt/f/a",
            "famfs creat -s 1M --multi a,1 /mnt/f/a",
            "famfs mount /dev/dax0.0 /mnt/f --library --fuse",
            "famfs mount /dev/dax0.0 /mnt/f --size 8M",
            "famfs mkfs /dev/dax0.0 --omf 2.4",
            "famfs verify -S 42",
            "famfs verify",
            "famfs cp a",
            "famfs cp -t 0 a b",
            "famfs kmod",
            "famfs dax bind dax0.0 kmem",
            "famfs dax unbind",
            "famfs wait --timeout -1 /mnt/f/a",
            "famfs watch --timeout nan /mnt/f",
            "famfs map",
            "famfs map --json --svg map.svg /mnt/f",
            "famfs top --interval -1",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
