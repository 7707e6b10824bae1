//! The command line: commands, options and their help.
//!
//! Owns names and defaults. What can only be said of several options together is checked by the
//! commands.

mod looks;
mod pictures;
mod system;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use uuid::Uuid;

use crate::size;

pub(crate) use looks::{Ls, Show, Stat, Wait, Watch};
pub(crate) use pictures::{DeviceMap, Top};
pub(crate) use system::{
    Dax, DaxBind, DaxDriver, DaxVerb, Kmod, KmodBuild, KmodLoad, KmodVerb, Listing,
};

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

/// Options of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Size of the private volume
    #[arg(long, default_value = "256MiB")]
    pub(crate) size: String,
}

/// Options of `mkfs`.
#[derive(Debug, Args)]
pub(crate) struct Mkfs {
    /// Device or backing file
    #[arg(value_name = "DEV")]
    pub(crate) device: PathBuf,
    /// Make the backing file, with this size; its space is taken at once
    #[arg(long, value_parser = size::parse)]
    pub(crate) size: Option<u64>,
    /// Size of the log: a power of two from 8M on; 8M holds 15420 entries
    #[arg(long, value_name = "SIZE", value_parser = size::parse, default_value = "8M")]
    pub(crate) log_size: u64,
    /// Leave the backing file's space to be taken as it is used
    #[arg(long)]
    pub(crate) sparse: bool,
    /// Version of the format: 2.2 is the reference's, 2.3 can replace and remove
    #[arg(long, value_name = "VERSION", default_value = "2.3")]
    pub(crate) omf: Omf,
    /// Identity of the host that may publish; by default this one
    #[arg(long, value_name = "UUID")]
    pub(crate) host_uuid: Option<Uuid>,
    /// Make it over a volume that is there; its files are lost
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print what was made as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A version of the format.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Omf {
    /// The reference's.
    #[value(name = "2.2")]
    V2_2,
    /// With REPLACE and DELETE.
    #[value(name = "2.3")]
    V2_3,
}

/// Options of `mount`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "options are on or off")]
pub(crate) struct Mount {
    /// Device or backing file, and the directory that stands for it; with --embedded the
    /// directory alone
    #[arg(value_names = ["DEV", "MNT"], num_args = 1..=2, required = true)]
    pub(crate) places: Vec<PathBuf>,
    /// Make (once) and mount a volume in this host's memory; MNT is made if it is missing
    #[arg(long, conflicts_with_all = ["library", "kernel", "fuse", "shared", "local"])]
    pub(crate) embedded: bool,
    /// Size of an embedded volume; by default a quarter of the available memory, 4G at most
    #[arg(long, requires = "embedded", value_parser = size::parse)]
    pub(crate) size: Option<u64>,
    /// Mount in the library way: famfs and Python see the files, other programs don't
    #[arg(long, group = "way")]
    pub(crate) library: bool,
    /// Mount with the kernel module
    #[arg(long, group = "way")]
    pub(crate) kernel: bool,
    /// With --kernel: physical memory that nobody else owns, START+SIZE in bytes, where the kernel
    /// has no device that it can hand out; DEV is only a name then, such as `none`
    #[arg(long, value_name = "START+SIZE", conflicts_with_all = ["library", "fuse", "embedded"])]
    pub(crate) range: Option<String>,
    /// With --kernel: stay, and play what any host appends, until the mount is gone
    #[arg(long, conflicts_with_all = ["library", "fuse", "embedded"])]
    pub(crate) follow: bool,
    /// Mount through FUSE
    #[arg(long, group = "way")]
    pub(crate) fuse: bool,
    /// Several hosts see the volume: the default for devices
    #[arg(long, conflicts_with = "local")]
    pub(crate) shared: bool,
    /// This host alone sees the volume: the default for backing files
    #[arg(long)]
    pub(crate) local: bool,
    /// Print the mount as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `umount`.
#[derive(Debug, Args)]
pub(crate) struct Umount {
    /// Mount point
    #[arg(value_name = "MNT")]
    pub(crate) mountpoint: PathBuf,
    /// Give an embedded volume's memory back; its files are lost
    #[arg(long)]
    pub(crate) discard: bool,
}

/// Options of `mounts`.
#[derive(Debug, Args)]
pub(crate) struct Mounts {
    /// Open each, and show role, whose caches see it, and how full it is
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who owns what is made.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Ownership {
    /// Permission bits in octal; by default 0666 (0777 for directories) without the umask
    #[arg(short, long, value_parser = size::parse_mode)]
    pub(crate) mode: Option<u32>,
    /// Owner; by default the caller
    #[arg(short, long)]
    pub(crate) uid: Option<u32>,
    /// Group; by default the caller's
    #[arg(short, long)]
    pub(crate) gid: Option<u32>,
}

/// How files are laid out.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Interleave {
    /// Stripe over this many strips, each in another bucket of the device
    #[arg(short = 'N', long, requires = "nbuckets", requires = "chunksize")]
    pub(crate) nstrips: Option<usize>,
    /// Equal buckets that the device is cut into, 64 at most
    #[arg(short = 'B', long, requires = "nstrips")]
    pub(crate) nbuckets: Option<u64>,
    /// Bytes of a chunk: a power of two and a multiple of 2M
    #[arg(short = 'C', long, value_name = "SIZE", requires = "nstrips", value_parser = size::parse)]
    pub(crate) chunksize: Option<u64>,
}

/// Options of `creat`.
#[derive(Debug, Args)]
pub(crate) struct Creat {
    /// File to make
    #[arg(required_unless_present = "multi", conflicts_with = "multi")]
    pub(crate) file: Option<PathBuf>,
    /// Its size
    #[arg(short, long, required_unless_present = "multi", conflicts_with = "multi",
          value_parser = size::parse)]
    pub(crate) size: Option<u64>,
    /// Fill it with seeded content; without --seed the seed is chosen and printed
    #[arg(short, long, conflicts_with = "multi")]
    pub(crate) randomize: bool,
    /// Fill it with the content of this seed; 0 means zeros
    #[arg(short = 'S', long, conflicts_with = "multi")]
    pub(crate) seed: Option<u32>,
    /// Make several files in one step, all or none: NAME,SIZE or NAME,SIZE,SEED
    #[arg(long, value_name = "NAME,SIZE[,SEED]")]
    pub(crate) multi: Vec<OsString>,
    #[command(flatten)]
    pub(crate) ownership: Ownership,
    #[command(flatten)]
    pub(crate) interleave: Interleave,
    /// Take the place of a file that is there; its readers keep it
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Options of `cp`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "options are on or off")]
pub(crate) struct Cp {
    /// Files to copy
    #[arg(value_name = "SRC", required = true)]
    pub(crate) sources: Vec<PathBuf>,
    /// Where to: a name, or a directory that is there
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    /// Copy directories and what is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Threads that read and write a large file; by default one per processor, 8 at most
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) threads: Option<u16>,
    #[command(flatten)]
    pub(crate) ownership: Ownership,
    #[command(flatten)]
    pub(crate) interleave: Interleave,
    /// Take the place of files that are there; in a volume their readers keep them
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Show no progress bar
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print what was copied as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `mkdir`.
#[derive(Debug, Args)]
pub(crate) struct Mkdir {
    /// Directories to make
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Make what is missing on the way too; a directory that is there is fine
    #[arg(short, long)]
    pub(crate) parents: bool,
    #[command(flatten)]
    pub(crate) ownership: Ownership,
}

/// Options of `rm`.
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Files and empty directories to remove
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
    /// Remove directories with all that is in them
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// What isn't there is fine
    #[arg(short, long)]
    pub(crate) force: bool,
}

/// Options of `df`.
#[derive(Debug, Args)]
pub(crate) struct Df {
    /// Mount points; by default all
    #[arg(value_name = "MNT")]
    pub(crate) mountpoints: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `cat`.
#[derive(Debug, Args)]
pub(crate) struct Cat {
    /// Files to print
    #[arg(value_name = "PATH", required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

/// Options of `versions`.
#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// File
    pub(crate) path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Datasets to check: their checksums, where they have one, and their structure
    #[arg(value_name = "FILE", required_unless_present_any = ["seed", "multi"])]
    pub(crate) datasets: Vec<PathBuf>,
    /// The seed that the content was made with
    #[arg(short = 'S', long, requires = "filename")]
    pub(crate) seed: Option<u32>,
    /// The file
    #[arg(short, long, value_name = "FILE", requires = "seed")]
    pub(crate) filename: Option<PathBuf>,
    /// A file and its seed, as often as there are files
    #[arg(long, value_name = "FILE,SEED")]
    pub(crate) multi: Vec<OsString>,
    /// Print nothing where all is well
    #[arg(short, long)]
    pub(crate) quiet: bool,
}

/// Options of `flush`.
#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Files to flush
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,
}

/// Options of `getmap`.
#[derive(Debug, Args)]
pub(crate) struct Getmap {
    /// File
    pub(crate) file: PathBuf,
    /// Print nothing; exit code 0: mapped; 1: no file of a volume; 2: not mapped
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `chkread`.
#[derive(Debug, Args)]
pub(crate) struct Chkread {
    /// File; with -s or -l the mount point
    #[arg(value_name = "FILE|MNT")]
    pub(crate) path: PathBuf,
    /// Compare the superblock
    #[arg(short, long)]
    pub(crate) superblock: bool,
    /// Compare the log
    #[arg(short, long)]
    pub(crate) log: bool,
}

/// Options of `logplay`.
#[derive(Debug, Args)]
pub(crate) struct Logplay {
    /// Mount point
    #[arg(value_name = "MNT")]
    pub(crate) mountpoint: PathBuf,
    /// Go on: play what any host appends, until the mount is gone (under a kernel mount)
    #[arg(long)]
    pub(crate) follow: bool,
    /// With --follow: milliseconds between two looks at the log
    #[arg(long, value_name = "MS", default_value_t = 100, requires = "follow")]
    pub(crate) interval: u64,
    /// Print JSON; with --follow, a line for each play
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `fsck`.
#[derive(Debug, Args)]
pub(crate) struct Fsck {
    /// Device, backing file or mount point
    #[arg(value_name = "DEV|MNT")]
    pub(crate) place: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Mend what can be mended
    #[arg(long)]
    pub(crate) repair: bool,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Mount point
    #[arg(value_name = "MNT")]
    pub(crate) mountpoint: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `dump`.
#[derive(Debug, Args)]
pub(crate) struct Dump {
    /// Device, backing file or mount point
    #[arg(value_name = "DEV|MNT")]
    pub(crate) place: PathBuf,
    /// Print JSON, as it does anyway
    #[arg(long)]
    pub(crate) json: bool,
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
