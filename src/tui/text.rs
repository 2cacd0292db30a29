//! Texts of the project, which carry their colours as ANSI sequences, as lines of the console. Pure.

use ansi_to_tui::IntoText as _;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span, Text};
use unicode_width::UnicodeWidthChar as _;

/// Turns a text with ANSI sequences into lines; words that are longer than a line go on in the next one.
pub(super) fn lines(text: &str, width: usize, colour: bool) -> Vec<Line<'static>> {
    let plain = || Text::raw(anstream::adapter::strip_str(text).to_string());
    let text = text.into_text().unwrap_or_else(|_| plain());
    text.lines.into_iter().flat_map(|line| fold(line, width.max(1), colour)).collect()
}

/// Takes colours away where they are not wanted; weight and underlines stay.
pub(super) fn style(style: Style, colour: bool) -> Style {
    match colour {
        // What says "the usual colour" is better left unsaid: the console may stand on another ground.
        true => Style { fg: style.fg.filter(|fg| *fg != Color::Reset), bg: None, ..style },
        false => Style { fg: None, bg: None, underline_color: None, ..style },
    }
}

fn fold(line: Line<'static>, width: usize, colour: bool) -> Vec<Line<'static>> {
    let mut folded = Vec::new();
    let (mut spans, mut used) = (Vec::new(), 0);
    for span in line.spans {
        let look = style(span.style, colour);
        let mut part = String::new();
        for letter in span.content.chars() {
            let wide = letter.width().unwrap_or(0);
            if used + wide > width {
                spans.push(Span::styled(std::mem::take(&mut part), look));
                folded.push(Line::from(std::mem::take(&mut spans)));
                used = 0;
            }
            part.push(letter);
            used += wide;
        }
        if !part.is_empty() {
            spans.push(Span::styled(part, look));
        }
    }
    folded.push(Line::from(spans));
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{CODE, paint};

    fn plain(lines: &[Line<'_>]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_word_that_is_too_long_goes_on_and_keeps_its_style() {
        let lines = lines(&format!("ab {}", paint(CODE, "cdefgh")), 5, true);
        assert_eq!(plain(&lines), ["ab cd", "efgh"]);
        assert_eq!(lines[1].spans[0].style.fg, Some(Color::Cyan));
    }

    #[test]
    fn without_colour_there_is_none() {
        let lines = lines(&paint(CODE, "x"), 5, false);
        assert!(lines.iter().flat_map(|line| &line.spans).all(|span| span.style.fg.is_none()));
    }

    #[test]
    fn wide_letters_are_not_cut() {
        assert_eq!(plain(&lines("日本語", 5, true)), ["日本", "語"]);
    }
}
