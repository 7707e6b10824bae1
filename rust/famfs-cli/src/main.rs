//! The `famfs` program; under the name `mkfs.famfs` it is `famfs mkfs`.
#![forbid(unsafe_code)]

fn main() {
    std::process::exit(famfs_cli::run(std::env::args_os()));
}
