//! `wait` and `watch`: what comes later.

use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use famfs::Error;
use famfs::mounts;
use famfs::watch::{Event, Pause, Watch};
use serde::Serialize;

use super::ls::Entry;
use super::named;
use crate::args;
use crate::output::{JsonPath, Output, show_host};

/// News of a name, as it is printed.
#[derive(Debug, Serialize)]
struct News {
    event: &'static str,
    #[serde(flatten)]
    path: JsonPath,
    kind: &'static str,
    size: u64,
    slot: u64,
}

impl From<&Event> for News {
    fn from(event: &Event) -> Self {
        let stat = &event.stat;
        Self {
            event: event.what.name(),
            path: JsonPath::new(&stat.path),
            kind: if stat.is_dir() { "directory" } else { "file" },
            size: stat.size.0,
            slot: stat.slot.0,
        }
    }
}

/// When it is time to stop; `None` for never.
fn end_of(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}

/// Waits until something is published under a name.
pub(super) fn wait(args: &args::Wait, output: &mut Output) -> Result<i32> {
    let end = end_of(args.timeout);
    let mut pause = Pause::new();
    loop {
        let named = named(&args.path)?;
        match named.volume.stat(named.path()) {
            Ok(stat) => {
                if args.json {
                    output.json(&Entry::of(&named.volume, &stat))?;
                } else {
                    output.line(format_args!("{}", show_host(&args.path)))?;
                }
                return Ok(0);
            }
            Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(named.as_asked(error).into()),
        }
        if is_over(end) {
            return Err(not_in_time(&args.path, args.timeout));
        }
        thread::sleep(pause.grow());
    }
}

fn not_in_time(path: &Path, timeout: Option<Duration>) -> anyhow::Error {
    crate::error::Error::NotInTime {
        path: path.to_owned(),
        seconds: timeout.unwrap_or_default().as_secs_f64(),
    }
    .into()
}

/// Prints what is published, replaced and removed, as it happens.
pub(super) fn watch(args: &args::Watch, output: &mut Output) -> Result<i32> {
    let mountpoint = mounts::resolve(&args.path)?.mount.mountpoint;
    let mut watch = Watch::begin(&args.path, args.existing)?;
    let mut end = end_of(args.timeout);
    let mut pause = Pause::new();
    loop {
        let events = watch.poll()?;
        for event in &events {
            tell(event, &mountpoint, args.json, output)?;
        }
        if !events.is_empty() {
            // Who reads it acts on it.
            output.flush()?;
            end = end_of(args.timeout);
            pause = Pause::new();
        }
        if is_over(end) {
            return Ok(0);
        }
        thread::sleep(pause.grow());
    }
}

fn tell(event: &Event, mountpoint: &Path, json: bool, output: &mut Output) -> Result<()> {
    if json {
        let mut line = Vec::new();
        serde_json::to_writer(&mut line, &News::from(event))?;
        writeln!(line)?;
        return output.bytes(&line);
    }
    let mut path = show_host(mountpoint);
    path.push('/');
    path.push_str(&crate::output::show_path(&event.stat.path));
    output.line(format_args!("{:9}  {path}", event.what.name()))
}
