//! A device drawn with characters, for a terminal.
//!
//! Owns the characters and colours. Each use has a character of its own, so that nothing is told by
//! its colour alone.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Color, Style};
use famfs::core::units::ALLOC_UNIT;

use super::rows::{Piece, bytes_in_row, even};
use super::{COLOURED, Picture, Use};
use crate::output::show_path;
use crate::size::show;

/// Columns before a row: where it begins.
const LABEL: usize = 11;

/// Columns of a row at the most: what is wider is no easier to read.
const MOST: usize = 128;

/// Files that are listed.
const LISTED: usize = 5;

const FILES: [AnsiColor; COLOURED] = [
    AnsiColor::BrightBlue,
    AnsiColor::BrightGreen,
    AnsiColor::BrightYellow,
    AnsiColor::BrightMagenta,
    AnsiColor::BrightCyan,
    AnsiColor::Blue,
    AnsiColor::Green,
    AnsiColor::Magenta,
];

pub(super) fn draw(picture: &Picture, columns: usize, colour: bool) -> String {
    let mut drawn = Drawing {
        picture,
        colour,
        text: String::new(),
    };
    let width = columns.saturating_sub(LABEL + 1).clamp(16, MOST) as u64;
    let row = bytes_in_row(picture.end());
    // Of a small device a character is a unit or a whole part of one: edges are where they are.
    let width = match row / ALLOC_UNIT {
        units if units <= width => width / units * units,
        _ => width,
    };
    let name = match &picture.mountpoint {
        Some(mountpoint) => format!("{mountpoint} on {}", picture.device),
        None => picture.device.clone(),
    };
    drawn.line(&name, Style::new().bold());
    drawn.line(&picture.summary(), Style::new());
    let mut start = 0;
    while start < picture.end() {
        let _ = write!(drawn.text, "{:>LABEL$} ", show(start));
        for piece in even(&picture.ranges, start, row, width) {
            drawn.cell(&piece, row / width.max(1));
        }
        drawn.text.push('\n');
        start += row;
    }
    drawn.legend();
    drawn.files(columns);
    drawn.text
}

struct Drawing<'a> {
    picture: &'a Picture,
    colour: bool,
    text: String,
}

fn plain(kind: Use) -> (char, Style) {
    let style = |colour: AnsiColor| Style::new().fg_color(Some(Color::Ansi(colour)));
    match kind {
        Use::Superblock => ('S', style(AnsiColor::White).bold()),
        Use::Log => ('L', style(AnsiColor::Yellow).bold()),
        Use::LogRoom => ('l', style(AnsiColor::Yellow).dimmed()),
        Use::File => ('\u{2588}', style(AnsiColor::White)),
        Use::Dead => ('\u{2592}', style(AnsiColor::Red)),
        Use::Free => ('\u{b7}', style(AnsiColor::BrightBlack)),
    }
}

impl Drawing<'_> {
    fn styled(&mut self, text: impl std::fmt::Display, style: Style) {
        let _ = if self.colour {
            write!(self.text, "{style}{text}{style:#}")
        } else {
            write!(self.text, "{text}")
        };
    }

    fn line(&mut self, text: &str, style: Style) {
        self.styled(text, style);
        self.text.push('\n');
    }

    fn style_of(&self, file: Option<usize>) -> Style {
        let colour = file.and_then(|file| self.picture.files[file].colour);
        let style = colour.map(|colour| Style::new().fg_color(Some(FILES[colour].into())));
        style.unwrap_or(plain(Use::File).1)
    }

    /// A character: half of one for files that take less than most of it.
    fn cell(&mut self, piece: &Piece, bytes: u64) {
        let (mut drawn, mut style) = plain(piece.kind);
        let file = self.picture.ranges[piece.range].file;
        if piece.kind == Use::File {
            style = self.style_of(file);
            if !self.colour && file.is_some_and(|file| file % 2 == 1) {
                // Where one ends and the next begins.
                drawn = '\u{2593}';
            }
            if piece.used < bytes / 8 * 7 {
                drawn = '\u{2584}';
            }
        }
        if self.picture.chosen.is_some() && self.picture.chosen != file {
            style = style.dimmed();
        }
        self.styled(drawn, style);
    }

    fn legend(&mut self) {
        self.text.push('\n');
        let picture = self.picture;
        for kind in Use::ALL {
            let bytes = picture.bytes(kind);
            if bytes == 0 {
                continue;
            }
            let (drawn, style) = plain(kind);
            self.styled(drawn, style);
            let percent = percent(bytes, picture.end());
            let _ = writeln!(
                self.text,
                " {:16} {:>10} {percent:>6}",
                kind.words(),
                show(bytes)
            );
        }
    }

    fn files(&mut self, columns: usize) {
        let picture = self.picture;
        let largest = picture.largest();
        if largest.is_empty() {
            return;
        }
        self.text.push('\n');
        let mut listed: Vec<_> = largest.into_iter().take(LISTED).collect();
        if let Some(chosen) = picture.chosen.filter(|chosen| !listed.contains(chosen)) {
            listed.insert(0, chosen);
        }
        for &index in &listed {
            let file = &picture.files[index];
            self.styled(plain(Use::File).0, self.style_of(Some(index)));
            let extents = match file.extents {
                1 => String::new(),
                more => format!(" in {more} extents"),
            };
            let size = show(file.size);
            let path = cut(&show_path(&file.path), columns.saturating_sub(30));
            let _ = writeln!(self.text, " {size:>10}  {path}{extents}");
        }
        let others = picture.live().count().saturating_sub(listed.len());
        if others > 0 {
            let _ = writeln!(self.text, "  and {others} more");
        }
    }
}

/// A part of a whole, as people read it: what is there is not 0.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let whole = u128::from(whole.max(1));
    let tenths = (u128::from(part) * 1000 + whole / 2) / whole;
    match tenths {
        0 if part > 0 => "<0.1%".into(),
        tenths => format!("{}.{}%", tenths / 10, tenths % 10),
    }
}

/// A path's end, where all of it has no room.
pub(crate) fn cut(path: &str, room: usize) -> String {
    let room = room.max(8);
    let length = path.chars().count();
    if length <= room {
        return path.to_owned();
    }
    let kept = path.chars().skip(length - room + 1);
    std::iter::once('\u{2026}').chain(kept).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::picture;
    use super::*;

    #[test]
    fn all_that_is_there_is_drawn_and_fits() {
        for columns in [40, 80, 200] {
            let text = draw(&picture(), columns, false);
            assert!(!text.contains('\u{1b}'));
            for drawn in ['S', 'L', 'l', '\u{2588}', '\u{2592}', '\u{b7}'] {
                assert!(text.contains(drawn), "{drawn} in\n{text}");
            }
            let rows = text.lines().skip(2).take(16);
            assert!(
                rows.clone()
                    .all(|row| row.chars().count() <= columns.max(80))
            );
            assert_eq!(rows.filter(|row| !row.is_empty()).count(), 16);
            assert!(text.contains("a&b/large in 2 extents"), "{text}");
            assert!(text.contains("dead"), "{text}");
        }
        let text = draw(&picture(), 80, true);
        assert!(text.contains("\u{1b}[94m\u{2588}"), "{text:?}");
    }

    #[test]
    fn parts_and_paths_are_short() {
        assert_eq!(percent(1, 3), "33.3%");
        assert_eq!(percent(1, 1 << 40), "<0.1%");
        assert_eq!(percent(0, 5), "0.0%");
        assert_eq!(cut("0123456789", 9), "\u{2026}23456789");
        assert_eq!(cut("0123456789", 10), "0123456789");
    }
}
