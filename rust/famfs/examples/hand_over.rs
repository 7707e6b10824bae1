//! One process fills a file, another one commits it.
//!
//! ```sh
//! hand_over fill /mnt/famfs "some text"         # prints a token, and waits for its input to end
//! hand_over commit TOKEN /mnt/famfs/name        # in another process, meanwhile
//! ```
//!
//! The bytes stay where they are: what is handed over is the right to name them.

#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::Read;
use std::path::Path;

use famfs::core::space::Layout;
use famfs::core::units::{ByteLen, FileOff};
use famfs::{Publication, host, mounts};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["fill", mount, text] => {
            let volume = mounts::resolve(Path::new(mount))?.volume()?;
            let size = ByteLen(text.len() as u64);
            let reservation = volume.reserve(size, Layout::Contiguous)?;
            reservation.fill(FileOff(0), text.as_bytes())?;
            println!("{}", reservation.hand_over()?);
            // A reservation lives as long as somebody takes part in it; a commit waits for the
            // others to let go.
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
        ["commit", token, path] => {
            let resolved = mounts::resolve(Path::new(path))?;
            let volume = resolved.volume()?;
            let reservation = volume.adopt(token.parse()?)?;
            println!("taken over");
            // The one who filled it ends now, and this process is the last.
            std::io::stdin().read_to_end(&mut Vec::new())?;
            volume.commit(vec![Publication {
                reservation,
                path: resolved.name()?,
                owner: host::owner(None),
                overwrite: false,
            }])?;
        }
        _ => return Err("see the first lines of examples/hand_over.rs".into()),
    }
    Ok(())
}
