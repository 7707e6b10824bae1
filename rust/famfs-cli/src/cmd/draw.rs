//! `map`: a device, drawn.

use std::io::IsTerminal;
use std::path::Path;

use anyhow::{Context, Result};

use crate::args::DeviceMap;
use crate::output::{Output, columns};
use crate::picture::Picture;

pub(super) fn run(args: &DeviceMap, output: &mut Output) -> Result<i32> {
    let picture = Picture::of(&args.place)?;
    match &args.svg {
        Some(file) if file == Path::new("-") => output.line(picture.svg())?,
        Some(file) => std::fs::write(file, picture.svg())
            .with_context(|| format!("{}: cannot write the picture", file.display()))?,
        None if args.json => output.line(picture.json())?,
        None => {
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            output.bytes(picture.text(columns(), colour).as_bytes())?;
        }
    }
    Ok(0)
}
