//! How text is laid out for a terminal: columns, wrapping, tables, colours as ANSI sequences that the terminal's
//! owner strips where they are not wanted. Pure; knows neither the terminal nor what the text is about.

use anstyle::{AnsiColor, Effects, Style};
use unicode_width::UnicodeWidthStr as _;

/// Headings and what matters most.
pub const STRONG: Style = Style::new().effects(Effects::BOLD);
/// What can be passed over.
pub const FAINT: Style = Style::new().effects(Effects::DIMMED);
/// Emphasis.
pub const EMPHASIS: Style = Style::new().effects(Effects::ITALIC);
/// What is well.
pub const GOOD: Style = AnsiColor::Green.on_default().effects(Effects::BOLD);
/// What is not.
pub const BAD: Style = AnsiColor::Red.on_default().effects(Effects::BOLD);
/// What needs attention.
pub const WARN: Style = AnsiColor::Yellow.on_default().effects(Effects::BOLD);
/// What can be typed or copied.
pub const CODE: Style = AnsiColor::Cyan.on_default();
/// Addresses.
pub const LINK: Style = Style::new().effects(Effects::UNDERLINE);

/// Colours a text.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Returns the columns that a text takes, without its ANSI sequences.
pub fn columns(text: &str) -> usize {
    anstream::adapter::strip_str(text).to_string().width()
}

/// Fills a text up to a width.
pub fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Shortens a plain text to a width, with an ellipsis where something was cut.
pub fn shorten(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for letter in text.chars() {
        if short.width() + unicode_width::UnicodeWidthChar::width(letter).unwrap_or(0) + 1 > width {
            break;
        }
        short.push(letter);
    }
    short.push('…');
    short
}

/// Breaks a text into lines of at most `width` columns at its spaces; the first line begins with `first`, the others
/// with `rest`. Line ends in the text stay. A word that is longer than a line is not broken, so that it can be copied.
pub fn wrap(text: &str, width: usize, first: &str, rest: &str) -> String {
    let mut out = String::new();
    let mut lead = first;
    for (number, line) in text.lines().enumerate() {
        if number > 0 {
            out.push('\n');
        }
        let mut used = columns(lead);
        out.push_str(lead);
        lead = rest;
        let mut fresh = true;
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            let wide = columns(word);
            if !fresh && used + 1 + wide > width {
                out.push('\n');
                out.push_str(rest);
                used = columns(rest);
                fresh = true;
            }
            if !fresh {
                out.push(' ');
                used += 1;
            }
            out.push_str(word);
            used += wide;
            fresh = false;
        }
        let kept = out.trim_end_matches(' ').len();
        out.truncate(kept);
    }
    out
}

/// Lays rows out in columns that are as wide as their widest cell; the last column is shortened or goes on to the
/// width of the terminal.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Creates a table with a head.
    pub fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| paint(FAINT, cell.to_uppercase())).collect()] }
    }

    /// Creates a table without a head.
    pub fn bare() -> Self {
        Self::default()
    }

    /// Adds a row.
    pub fn row<I: IntoIterator<Item = C>, C: Into<String>>(&mut self, cells: I) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Adds a head line for the rows that follow, after an empty one unless it is the first.
    pub fn section(&mut self, title: impl Into<String>) {
        if !self.rows.is_empty() {
            self.rows.push(vec![String::new()]);
        }
        self.rows.push(vec![title.into()]);
    }

    /// Returns the columns that it takes when nothing is wrapped.
    pub fn columns(&self) -> usize {
        self.render(usize::MAX, "").lines().map(columns).max().unwrap_or(0)
    }

    /// Lays it out, each line beginning with `indent`. The last column is wrapped at `width` columns.
    pub fn render(&self, width: usize, indent: &str) -> String {
        let count = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        // A line of a single cell, such as the head of a section, lies across the columns.
        let rows = || self.rows.iter().filter(|row| row.len() > 1 || count == 1);
        let wide: Vec<usize> = (0..count)
            .map(|place| rows().filter_map(|row| row.get(place)).map(|cell| columns(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = indent.to_owned();
            for (place, cell) in row.iter().enumerate() {
                if place + 1 < row.len() {
                    line.push_str(&pad(cell, wide[place]));
                    line.push_str("  ");
                } else {
                    // Where little room is left a wrapped column would be a thread of single words.
                    let lead = columns(&line);
                    let rest = " ".repeat(lead);
                    match width > lead + 20 {
                        true => line = wrap(cell, width, &line, &rest),
                        false => line.push_str(cell),
                    }
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Writes a time as `m:ss` or `h:mm:ss`.
pub fn clock_time(time: std::time::Duration) -> String {
    let seconds = time.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Writes the seconds that are left; none where there is no limit.
pub fn time_left(seconds: Option<u64>) -> String {
    match seconds {
        None => "no limit".to_owned(),
        Some(0) => paint(BAD, "the time is up"),
        Some(left) => {
            let style = if left <= 60 { WARN } else { STRONG };
            paint(style, format!("{} left", clock_time(std::time::Duration::from_secs(left))))
        }
    }
}

/// Writes a count with its noun.
pub fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn text_is_wrapped_at_its_spaces_with_a_hanging_indent() {
        assert_eq!(wrap("one two three four", 11, "- ", "  "), "- one two\n  three\n  four");
        assert_eq!(wrap("a\n\nb", 10, "", "  "), "a\n\n  b");
        assert_eq!(
            wrap("a-word-that-is-longer-than-the-line b", 10, "", ""),
            "a-word-that-is-longer-than-the-line\nb"
        );
    }

    #[test]
    fn colours_take_no_columns() {
        let coloured = paint(GOOD, "four");
        assert_eq!(columns(&coloured), 4);
        assert_eq!(columns(&pad(&coloured, 6)), 6);
        assert_eq!(columns(&wrap(&format!("{coloured} {coloured}"), 9, "", "")), 9);
    }

    #[test]
    fn columns_of_a_table_line_up_and_the_last_one_wraps() {
        let mut table = Table::bare();
        table.row(["a", "1", "first"]);
        table.row(["longer", "22", "one two three four five six seven"]);
        assert_eq!(
            table.render(34, " "),
            " a       1   first\n longer  22  one two three four\n             five six seven\n"
        );
    }

    #[test]
    fn the_head_of_a_section_lies_across_the_columns() {
        let mut table = Table::bare();
        table.section("a long head");
        table.row(["a", "1"]);
        table.section("another");
        table.row(["bc", "2"]);
        assert_eq!(table.render(80, ""), "a long head\na   1\n\nanother\nbc  2\n");
        assert_eq!(table.columns(), 11);
    }

    #[test]
    fn what_is_shortened_fits() {
        assert_eq!(shorten("abcdef", 6), "abcdef");
        assert_eq!(shorten("abcdefg", 6), "abcde…");
        assert_eq!(shorten("日本語テキスト", 5), "日本…");
    }

    #[test]
    fn times_read_like_a_clock() {
        assert_eq!(clock_time(Duration::from_secs(7)), "0:07");
        assert_eq!(clock_time(Duration::from_secs(754)), "12:34");
        assert_eq!(clock_time(Duration::from_secs(7200)), "2:00:00");
    }
}
