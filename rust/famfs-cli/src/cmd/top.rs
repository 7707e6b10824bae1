//! `top`: what goes on in volumes, as it happens.
//!
//! Owns the screen while it is shown, and gives it back however the command ends: by a key, an
//! error, or a signal that asks it to.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::{cursor, queue, terminal};
use famfs::Error;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::activity::{Activity, Latest, Look, REMEMBERED};
use crate::args::Top;
use crate::output::{Output, columns, in_columns};
use crate::size::show;

/// Looks are no closer to each other than this.
const SHORTEST: Duration = Duration::from_millis(50);

/// How long a key or a signal may wait.
const PATIENCE: Duration = Duration::from_millis(100);

const BARS: [char; 8] = [
    '\u{2581}', '\u{2582}', '\u{2583}', '\u{2584}', '\u{2585}', '\u{2586}', '\u{2587}', '\u{2588}',
];

/// What is told at one look.
#[derive(Debug, Serialize)]
struct Told<'a> {
    volumes: &'a [Look],
    errors: Vec<String>,
}

pub(super) fn run(args: &Top, output: &mut Output) -> Result<i32> {
    let interval = args.interval.max(SHORTEST);
    let mut activity = Activity::of(&args.mountpoints);
    let first = activity.look()?;
    if args.once || !(args.json || std::io::stdout().is_terminal()) {
        thread::sleep(interval);
        let (looks, errors) = activity.look()?;
        if args.json {
            tell(&looks, &errors, output)?;
        } else {
            for line in lines(&activity, &looks, &errors, columns()) {
                output.line(line)?;
            }
        }
        return Ok(i32::from(!errors.is_empty()));
    }
    if args.json {
        loop {
            thread::sleep(interval);
            let (looks, errors) = activity.look()?;
            tell(&looks, &errors, output)?;
            // Who reads it acts on it.
            output.flush()?;
        }
    }
    watch(&mut activity, first, interval, output)
}

fn tell(looks: &[Look], errors: &[Error], output: &mut Output) -> Result<()> {
    let told = Told {
        volumes: looks,
        errors: errors.iter().map(ToString::to_string).collect(),
    };
    output.line(serde_json::to_string(&told)?)
}

/// The terminal as a screen: what was on it is there again afterwards.
struct Screen<'a> {
    output: &'a mut Output,
}

impl<'a> Screen<'a> {
    fn take(output: &'a mut Output) -> Result<Self> {
        terminal::enable_raw_mode().context("the terminal can't be read key by key")?;
        let mut screen = Self { output };
        screen.send(|bytes| queue!(bytes, terminal::EnterAlternateScreen, cursor::Hide))?;
        Ok(screen)
    }

    fn send(&mut self, write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes)?;
        self.output.bytes(&bytes)?;
        self.output.flush()
    }

    /// Draws lines over what is there: nothing flickers.
    fn draw(&mut self, lines: &[String]) -> Result<()> {
        use std::io::Write as _;
        let (columns, rows) = terminal::size().unwrap_or((80, 24));
        self.send(|bytes| {
            queue!(
                bytes,
                terminal::BeginSynchronizedUpdate,
                cursor::MoveTo(0, 0)
            )?;
            for (row, line) in lines.iter().take(usize::from(rows)).enumerate() {
                if row > 0 {
                    bytes.extend_from_slice(b"\r\n");
                }
                let line: String = line.chars().take(usize::from(columns)).collect();
                let style = anstyle::Style::new().bold();
                // The head of each part stands out.
                if line.starts_with(|c: char| c.is_ascii_uppercase()) {
                    write!(bytes, "{style}{line}{style:#}")?;
                } else {
                    write!(bytes, "{line}")?;
                }
                queue!(bytes, terminal::Clear(terminal::ClearType::UntilNewLine))?;
            }
            queue!(
                bytes,
                terminal::Clear(terminal::ClearType::FromCursorDown),
                terminal::EndSynchronizedUpdate
            )
        })
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        // Where nobody is there to see it any more, there is nothing to give back.
        let _ = self.send(|bytes| queue!(bytes, terminal::LeaveAlternateScreen, cursor::Show));
        let _ = terminal::disable_raw_mode();
    }
}

fn watch(
    activity: &mut Activity,
    first: (Vec<Look>, Vec<Error>),
    interval: Duration,
    output: &mut Output,
) -> Result<i32> {
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended)).context("signals")?;
    }
    let mut screen = Screen::take(output)?;
    let (mut looks, mut errors) = first;
    loop {
        let mut next = Instant::now() + interval;
        loop {
            screen.draw(&framed(activity, &looks, &errors, interval))?;
            match key_before(next, &ended)? {
                Heard::End => return Ok(0),
                Heard::Redraw => {}
                Heard::Look => next = Instant::now(),
                Heard::Nothing => break,
            }
        }
        (looks, errors) = activity.look()?;
    }
}

/// What is to be done next.
enum Heard {
    End,
    Redraw,
    Look,
    Nothing,
}

/// Waits for a key, until it is time for the next look.
fn key_before(next: Instant, ended: &AtomicBool) -> Result<Heard> {
    loop {
        if ended.load(Ordering::Acquire) {
            return Ok(Heard::End);
        }
        let left = next.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Heard::Nothing);
        }
        if !event::poll(left.min(PATIENCE))? {
            continue;
        }
        match event::read()? {
            Event::Key(key) if ends(&key) => return Ok(Heard::End),
            Event::Key(key) if key.code == KeyCode::Char(' ') => return Ok(Heard::Look),
            Event::Resize(..) => return Ok(Heard::Redraw),
            _ => {}
        }
    }
}

fn ends(key: &KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    key.kind != KeyEventKind::Release
        && match key.code {
            KeyCode::Char('c' | 'd') => control,
            KeyCode::Char('q' | 'Q') | KeyCode::Esc => true,
            _ => false,
        }
}

fn framed(
    activity: &Activity,
    looks: &[Look],
    errors: &[Error],
    interval: Duration,
) -> Vec<String> {
    let every = interval.as_secs_f64();
    let mut framed = vec![
        format!("famfs top: q ends, space looks now; every {every} s"),
        String::new(),
    ];
    framed.extend(lines(activity, looks, errors, columns()));
    framed
}

/// All that is told, as lines.
fn lines(activity: &Activity, looks: &[Look], errors: &[Error], columns: usize) -> Vec<String> {
    let head = [
        "ROLE",
        "FILES/S",
        "BYTES/S",
        "USED",
        "DEAD",
        "FREE",
        "USE%",
        "ENTRIES",
        "PROCESSES",
        "MOUNTPOINT",
    ];
    let rows = looks.iter().map(|look| {
        let usage = look.usage;
        let percent = (usage.allocated * 100).div_ceil(usage.capacity.max(1));
        vec![
            look.role.into(),
            rate(look.per_second),
            show(whole(look.bytes_per_second)),
            show(usage.allocated),
            show(usage.dead),
            show(usage.free),
            format!("{percent}%"),
            format!("{}/{}", look.entries, look.log_capacity),
            look.processes.len().to_string(),
            look.mountpoint.clone(),
        ]
    });
    let right = [1, 2, 3, 4, 5, 6, 7, 8];
    let mut lines = in_columns(&head, &right, rows.collect());
    if looks.is_empty() {
        lines.push("nothing is mounted: `famfs mount` says how".into());
    }
    for look in looks {
        let history = activity.history(&look.mountpoint);
        if history.len() > 1 {
            lines.push(String::new());
            lines.push(format!("FILES/S of {}", look.mountpoint));
            lines.push(bars(history, columns));
        }
    }
    let mut latest: Vec<_> = looks
        .iter()
        .flat_map(|look| look.latest.iter().map(move |file| (look, file)))
        .collect();
    let age = |file: &Latest| file.age.unwrap_or(f64::INFINITY);
    latest.sort_by(|a, b| age(a.1).total_cmp(&age(b.1)));
    if !latest.is_empty() {
        lines.push(String::new());
        let rows = latest.iter().map(|(look, file)| {
            let path = crate::output::show_path(file.path.path.as_bytes());
            vec![
                // The format keeps no times: what was there at the first look came before it.
                file.age
                    .map_or("before".into(), |age| format!("{age:.0} s")),
                show(file.size),
                crate::picture::cut(
                    &format!("{}/{path}", look.mountpoint),
                    columns.saturating_sub(26),
                ),
            ]
        });
        lines.extend(in_columns(
            &["AGE", "SIZE", "FILE"],
            &[0, 1],
            rows.collect(),
        ));
    }
    for error in errors {
        lines.push(String::new());
        lines.push(error.to_string());
    }
    lines
}

fn rate(per_second: f64) -> String {
    if per_second > 0.0 && per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is not negative, and saturates"
)]
fn whole(rate: f64) -> u64 {
    rate as u64
}

/// The last looks as bars, the youngest on the right, the highest as high as there is room.
fn bars(history: &[f64], columns: usize) -> String {
    let shown = &history[history.len().saturating_sub(columns.min(REMEMBERED))..];
    let most = shown.iter().copied().fold(0.0, f64::max);
    let bar = |rate: &f64| {
        if *rate <= 0.0 {
            return ' ';
        }
        let height = whole(rate / most * 7.0);
        BARS[usize::try_from(height).unwrap_or(0).min(7)]
    };
    let drawn: String = shown.iter().map(bar).collect();
    format!("{drawn}\u{258f} at most {}", rate(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_high_as_their_rates() {
        assert_eq!(
            bars(&[0.0, 1.0, 8.0], 80),
            " \u{2581}\u{2588}\u{258f} at most 8.0"
        );
        assert_eq!(bars(&[0.0, 0.0], 80), "  \u{258f} at most 0");
        assert_eq!(
            bars(&[5.0; 100], 30)
                .chars()
                .filter(|c| *c == BARS[7])
                .count(),
            30
        );
    }

    #[test]
    fn keys_that_end_it() {
        let key = |code, modifiers| KeyEvent::new(code, modifiers);
        assert!(ends(&key(KeyCode::Char('q'), KeyModifiers::NONE)));
        assert!(ends(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(ends(&key(KeyCode::Esc, KeyModifiers::NONE)));
        assert!(!ends(&key(KeyCode::Char('c'), KeyModifiers::NONE)));
    }
}
