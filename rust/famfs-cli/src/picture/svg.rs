//! A device drawn as SVG.
//!
//! Owns colours, sizes and the text of tooltips. It stands for itself: no script, no font, nothing
//! that is loaded; it follows the reader's preference for light or dark.

use std::fmt::Write as _;

use super::rows::{Piece, bytes_in_row, wide};
use super::text::{cut, percent};
use super::{Picture, Range, Use};
use crate::output::show_path;
use crate::size::show;

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 24.0;
const LABEL: f64 = 76.0;
const ROW: f64 = 22.0;
const GAP: f64 = 5.0;
const HEAD: f64 = 78.0;
const LEGEND: f64 = 22.0;

/// Width of a letter of the small text, about.
const LETTER: f64 = 6.3;

/// What is narrower is put together with what is beside it.
const NARROW: f64 = 1.5;

/// Dark enough for white letters, and bright enough to be seen on black.
const FILES: [&str; super::COLOURED] = [
    "#3b74c4", "#2f8558", "#c2571a", "#7d54c7", "#23808a", "#b83a82", "#8a6d1d", "#4d7c0f",
];

const STYLE: &str = "\
.famfs-map{font-family:system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;font-size:12px;\
--panel:#ffffff;--ink:#1f2933;--faint:#5f6c7b;--free:#e9edf2;--edge:#d3dae3;--super:#334155;\
--log:#b7791f;--other:#6b7a90;--dead:#d9c3c3;--line:#a94442}\
@media(prefers-color-scheme:dark){.famfs-map{--panel:#171a20;--ink:#e6e9ee;--faint:#9aa5b4;\
--free:#262b34;--edge:#3a424e;--super:#94a3b8;--log:#d69e2e;--other:#66758a;--dead:#4a3537;\
--line:#d9827f}}\
.famfs-map text{fill:var(--ink)}.famfs-map .faint{fill:var(--faint)}\
.famfs-map .at{fill:var(--faint);font-size:11px;text-anchor:end;font-variant-numeric:tabular-nums}\
.famfs-map .name{fill:#fff;font-size:11px;pointer-events:none}\
.famfs-map .title{font-size:17px;font-weight:600}\
.famfs-map .superblock{fill:var(--super)}.famfs-map .log{fill:var(--log)}\
.famfs-map .log-room{fill:var(--log);opacity:.3}.famfs-map .file{fill:var(--other)}\
.famfs-map .dead{fill:url(#famfs-dead)}.famfs-map .free{fill:var(--free)}\
.famfs-map .dim{opacity:.28}";

const PATTERN: &str = "<defs><pattern id=\"famfs-dead\" width=\"6\" height=\"6\" \
patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"6\" height=\"6\" \
style=\"fill:var(--dead)\"/><rect width=\"2\" height=\"6\" style=\"fill:var(--line)\"/></pattern>\
</defs>";

fn class(kind: Use) -> &'static str {
    match kind {
        Use::Superblock => "superblock",
        Use::Log => "log",
        Use::LogRoom => "log-room",
        Use::File => "file",
        Use::Dead => "dead",
        Use::Free => "free",
    }
}

/// Text, with what means something to SVG escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[allow(clippy::cast_precision_loss, reason = "a place in a picture")]
fn scaled(bytes: u64, per_byte: f64) -> f64 {
    bytes as f64 * per_byte
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "of a positive length, rounded down"
)]
fn bytes_of(width: f64, per_byte: f64) -> u64 {
    (width / per_byte) as u64
}

/// Writes to a string, which can't fail.
macro_rules! put {
    ($into:expr, $($what:tt)*) => {{ let _ = write!($into, $($what)*); }};
}

/// A rectangle of a row, and the words that it has room for.
struct Place<'a> {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    ranges: &'a [Range],
}

/// Draws one row of ranges over its background, which stands for what is free.
fn row(svg: &mut String, place: &Place<'_>, start: u64, bytes: u64, picture: Option<&Picture>) {
    let Place {
        left, top, height, ..
    } = *place;
    let end = place.ranges.last().map_or(0, Range::end);
    let here = end.saturating_sub(start).min(bytes);
    let per_byte = place.width / scaled(bytes.max(1), 1.0);
    let width = scaled(here, per_byte);
    put!(
        svg,
        r#"<rect class="free" x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height}" rx="2"/>"#
    );
    for piece in wide(place.ranges, start, here, bytes_of(NARROW, per_byte)) {
        if piece.kind != Use::Free {
            rectangle(svg, place, &piece, per_byte, picture);
        }
    }
}

fn rectangle(
    svg: &mut String,
    place: &Place<'_>,
    piece: &Piece,
    per_byte: f64,
    picture: Option<&Picture>,
) {
    let range = &place.ranges[piece.range];
    let file = range
        .file
        .and_then(|at| Some((at, picture?.files.get(at)?)));
    let from = scaled(piece.from, per_byte);
    // A hair between two files, and what is small is seen all the same.
    let width = (scaled(piece.to - piece.from, per_byte) - 0.8).max(NARROW);
    let left = place.left + from.min(place.width - width);
    let (top, height) = (place.top, place.height);
    let colour = file.and_then(|(_, file)| file.colour);
    let paint = match colour {
        Some(colour) if piece.kind == Use::File => format!(r#" style="fill:{}""#, FILES[colour]),
        _ => String::new(),
    };
    let chosen = picture.and_then(|picture| picture.chosen);
    let dim = if chosen.is_some() && chosen != range.file {
        " dim"
    } else {
        ""
    };
    put!(
        svg,
        r#"<rect class="{}{dim}"{paint} x="{left:.1}" y="{top:.1}" width="{width:.1}" height="{height}" rx="1.5"><title>{}</title></rect>"#,
        class(piece.kind),
        escaped(&tooltip(range, piece, picture)),
    );
    let Some((_, file)) = file.filter(|_| piece.count == 1 && dim.is_empty()) else {
        return;
    };
    let path = show_path(&file.path);
    let name = path.rsplit('/').next().unwrap_or_default();
    let needed = scaled(name.chars().count() as u64, LETTER) + 12.0;
    if piece.kind == Use::File && needed < width {
        let (x, y) = (left + 6.0, top + height / 2.0 + 4.0);
        put!(
            svg,
            r#"<text class="name" x="{x:.1}" y="{y:.1}">{}</text>"#,
            escaped(name)
        );
    }
}

fn tooltip(range: &Range, piece: &Piece, picture: Option<&Picture>) -> String {
    if piece.count > 1 {
        return format!("{} ranges, {}", piece.count, show(piece.used));
    }
    let at = format!("{} at {:#x}", show(range.length), range.offset);
    let file = range.file.and_then(|at| picture?.files.get(at));
    match (file, &range.part) {
        (Some(file), Some(part)) => {
            let state = if file.is_live { "" } else { " (dead)" };
            let path = show_path(&file.path);
            let (extent, of) = (part.extent, file.extents);
            format!("{path}{state}\nextent {extent} of {of}: {at}")
        }
        _ => format!("{}: {at}", range.kind.words()),
    }
}

pub(super) fn draw(picture: &Picture) -> String {
    let bytes = bytes_in_row(picture.end());
    let rows = picture.end().div_ceil(bytes);
    let uses: Vec<_> = Use::ALL
        .into_iter()
        .filter(|kind| picture.bytes(*kind) > 0)
        .collect();
    let files = picture.largest();
    let below = HEAD + scaled(rows, ROW + GAP) + 14.0;
    let more = usize::from(picture.live().any(|file| file.colour.is_none()));
    let lines = uses.len().max(files.len() + more) as u64;
    let height = below + scaled(lines, LEGEND) + MARGIN;
    let mut svg = String::new();
    put!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="famfs-map" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" style="max-width:100%;height:auto" role="img" aria-label="{}">"#,
        escaped(&format!(
            "what lies where on {}: {}",
            picture.device,
            picture.summary()
        )),
    );
    put!(svg, "<style>{STYLE}</style>{PATTERN}");
    put!(
        svg,
        r#"<rect width="{WIDTH}" height="{height:.0}" rx="10" style="fill:var(--panel);stroke:var(--edge)"/>"#
    );
    let (name, device) = match &picture.mountpoint {
        Some(mountpoint) => (mountpoint, format!("on {}", cut(&picture.device, 60))),
        None => (&picture.device, String::new()),
    };
    put!(
        svg,
        r#"<text x="{MARGIN}" y="36"><tspan class="title">{}</tspan><tspan class="faint" dx="10">{}</tspan></text><text class="faint" x="{MARGIN}" y="56">{}</text>"#,
        escaped(&cut(name, 50)),
        escaped(&device),
        escaped(&format!("{}, {}", picture.summary(), picture.uuid)),
    );
    let left = MARGIN + LABEL;
    for number in 0..rows {
        let place = Place {
            left,
            top: HEAD + scaled(number, ROW + GAP),
            width: WIDTH - MARGIN - left,
            height: ROW,
            ranges: &picture.ranges,
        };
        let (x, y) = (left - 8.0, place.top + 15.0);
        put!(
            svg,
            r#"<text class="at" x="{x}" y="{y:.1}">{}</text>"#,
            show(number * bytes)
        );
        row(&mut svg, &place, number * bytes, bytes, Some(picture));
    }
    legend(&mut svg, picture, below, &uses, &files);
    svg.push_str("</svg>");
    svg
}

fn legend(svg: &mut String, picture: &Picture, top: f64, uses: &[Use], files: &[usize]) {
    let left = MARGIN + LABEL;
    let numbers = "text-anchor:end;font-variant-numeric:tabular-nums";
    for (line, kind) in (0..).zip(uses) {
        let y = top + scaled(line, LEGEND);
        let (text, size, share) = (y + 11.0, left + 210.0, left + 270.0);
        let bytes = picture.bytes(*kind);
        let words = kind.words();
        put!(
            svg,
            r#"<rect class="{}" x="{left}" y="{y:.1}" width="14" height="14" rx="3"/><text x="{}" y="{text:.1}">{words}</text><text x="{size}" y="{text:.1}" style="{numbers}">{}</text><text class="faint" x="{share}" y="{text:.1}" style="{numbers}">{}</text>"#,
            class(*kind),
            left + 22.0,
            show(bytes),
            percent(bytes, picture.end()).replace('<', "&lt;"),
        );
        if *kind == Use::File {
            // Of several colours, as they have.
            for (third, fill) in [(0.0, FILES[0]), (4.7, FILES[1]), (9.4, FILES[2])] {
                let x = left + third;
                put!(
                    svg,
                    r#"<rect x="{x:.1}" y="{y:.1}" width="4.6" height="14" style="fill:{fill}"/>"#
                );
            }
        }
    }
    let left = left + 330.0;
    for (line, &index) in (0..).zip(files) {
        let y = top + scaled(line, LEGEND);
        let text = y + 11.0;
        let file = &picture.files[index];
        let paint = FILES[file.colour.unwrap_or_default()];
        let extents = match file.extents {
            1 => String::new(),
            more => format!(" in {more} extents"),
        };
        put!(
            svg,
            r#"<rect x="{left}" y="{y:.1}" width="14" height="14" rx="3" style="fill:{paint}"/><text x="{}" y="{text:.1}">{}</text><text x="{}" y="{text:.1}" style="{numbers}">{}</text>"#,
            left + 22.0,
            escaped(&format!("{}{extents}", cut(&show_path(&file.path), 46))),
            WIDTH - MARGIN,
            show(file.size),
        );
    }
    let others = picture.live().filter(|file| file.colour.is_none());
    let others: Vec<_> = others.map(|file| file.size).collect();
    if !others.is_empty() {
        let y = top + scaled(files.len() as u64, LEGEND);
        let text = y + 11.0;
        put!(
            svg,
            r#"<rect class="file" x="{left}" y="{y:.1}" width="14" height="14" rx="3"/><text x="{}" y="{text:.1}">{} more</text><text x="{}" y="{text:.1}" style="{numbers}">{}</text>"#,
            left + 22.0,
            others.len(),
            WIDTH - MARGIN,
            show(others.iter().sum()),
        );
    }
}

/// A device as one thin bar, with a file's extents in it: offsets and lengths in bytes.
#[must_use]
pub fn strip(places: &[(u64, u64)], device: u64) -> String {
    let (width, height) = (600.0, 18.0);
    let mut ranges: Vec<_> = places
        .iter()
        .map(|&(at, len)| Range::plain(Use::File, at, len))
        .collect();
    ranges.sort_by_key(|range| range.offset);
    let end = ranges.last().map_or(0, Range::end);
    if device > end {
        ranges.push(Range::plain(Use::Free, end, device - end));
    }
    let mut svg = String::new();
    put!(
        svg,
        r#"<svg xmlns="http://www.w3.org/2000/svg" class="famfs-map" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="where it lies on the device"><style>{STYLE}</style>"#
    );
    let place = Place {
        left: 0.0,
        top: 0.0,
        width,
        height,
        ranges: &ranges,
    };
    let mark = svg.len();
    row(&mut svg, &place, 0, device.max(end).max(1), None);
    let file = format!(r#"class="file" style="fill:{}""#, FILES[0]);
    let marks = svg.split_off(mark).replace(r#"class="file""#, &file);
    svg.push_str(&marks);
    svg.push_str("</svg>");
    svg
}

#[cfg(test)]
mod tests {
    use super::super::tests::picture;
    use super::*;

    #[test]
    fn what_is_there_is_drawn_and_escaped() {
        let svg = draw(&picture());
        for class in ["superblock", "log", "log-room", "dead", "free", "file"] {
            assert!(
                svg.contains(&format!(r#"<rect class="{class}""#)),
                "{class}"
            );
        }
        assert!(svg.contains("/dev/dax&lt;0&gt;"));
        assert!(svg.contains("a&amp;b/large in 2 extents"));
        assert!(!svg.contains("a&b") && !svg.contains("NaN"));
        assert!(svg.contains("prefers-color-scheme:dark"));
    }

    #[test]
    fn a_file_that_is_pointed_out_stands_out() {
        let mut picture = picture();
        assert!(!draw(&picture).contains(" dim\""));
        picture.chosen = Some(1);
        let svg = draw(&picture);
        assert_eq!(
            svg.matches(FILES[1]).count(),
            3,
            "its extent, and twice in the legend"
        );
        assert!(svg.contains(r#"<rect class="file dim""#));
    }

    #[test]
    fn many_small_files_are_a_bounded_picture() {
        let mut picture = picture();
        picture.ranges = (0..200_000)
            .map(|n| {
                let kind = if n % 2 == 0 { Use::Dead } else { Use::Free };
                Range::plain(kind, n << 21, 1 << 21)
            })
            .collect();
        let svg = draw(&picture);
        assert!(svg.matches("<rect").count() < 16 * 1000, "{}", svg.len());
    }

    #[test]
    fn a_strip_shows_extents() {
        let svg = strip(&[(50, 10), (10, 1)], 100);
        assert_eq!(svg.matches(FILES[0]).count(), 2);
        assert!(!strip(&[], 0).contains("NaN"));
    }
}
