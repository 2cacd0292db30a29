//! Markdown for the terminal: headings, lists, code, tables, links, wrapped to a width. Without colour, code keeps
//! its backticks so that names to copy still stand out.

use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::layout::{self, CODE, EMPHASIS, FAINT, LINK, STRONG, Table, paint};

/// Stands for a space within code, which is not to be broken; U+00A0 in the text itself stays what it is.
const TIED: char = '\u{e000}';

/// Renders Markdown.
pub fn render(text: &str, width: usize, colour: bool) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH;
    let mut page = Page { width, colour, ..Page::default() };
    for event in Parser::new_ext(text, options) {
        page.event(event);
    }
    page.flush();
    let mut out = page.out.trim_end().to_owned();
    out.push('\n');
    out
}

/// Leaves out a heading that says what stands above it already.
pub fn without_title<'t>(text: &'t str, title: &str) -> &'t str {
    let body = text.trim_start().strip_prefix("# ").and_then(|rest| rest.strip_prefix(title));
    body.filter(|body| body.starts_with('\n')).map_or(text, str::trim_start)
}

#[derive(Default)]
struct Page {
    width: usize,
    colour: bool,
    out: String,
    /// The paragraph that is being collected.
    inline: String,
    /// Styles that are open, innermost last.
    styles: Vec<anstyle::Style>,
    /// Lists that are open, with the next number of those that count.
    lists: Vec<Option<u64>>,
    /// What the next line begins with, where that is a list's mark.
    mark: Option<String>,
    quotes: usize,
    code: Option<String>,
    link: Option<(String, usize)>,
    table: Option<(Table, Vec<String>)>,
    tight: bool,
}

impl Page {
    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => match &mut self.code {
                Some(code) => code.push_str(&text),
                None => self.inline.push_str(&text),
            },
            Event::Code(text) => {
                let text = if self.colour { text.into_string() } else { format!("`{text}`") };
                let tied = text.replace(' ', &TIED.to_string());
                let painted = self.again(paint(CODE, tied));
                self.inline.push_str(&painted);
            }
            Event::SoftBreak => self.inline.push(' '),
            Event::HardBreak => self.inline.push('\n'),
            Event::Rule => {
                self.flush();
                let rule = "─".repeat(self.width.min(40));
                self.line(&paint(FAINT, rule));
                self.gap();
            }
            Event::Html(text) | Event::InlineHtml(text) => self.inline.push_str(&text),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph => self.flush(),
            Tag::Heading { level, .. } => {
                self.flush();
                let style = if level == HeadingLevel::H1 { STRONG.underline() } else { STRONG };
                self.open(style);
            }
            Tag::BlockQuote(_) => {
                self.flush();
                self.quotes += 1;
            }
            Tag::CodeBlock(kind) => {
                self.flush();
                // An indented block and a fenced one are shown alike, whatever language is named.
                let (CodeBlockKind::Indented | CodeBlockKind::Fenced(_)) = kind;
                self.code = Some(String::new());
            }
            Tag::List(first) => {
                self.flush();
                self.lists.push(first);
            }
            Tag::Item => {
                self.flush();
                self.tight = true;
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "• ".to_owned(),
                };
                self.mark = Some(mark);
            }
            Tag::Emphasis => self.open(EMPHASIS),
            Tag::Strong => self.open(STRONG),
            Tag::Strikethrough => self.open(FAINT),
            Tag::Link { dest_url, .. } => {
                let begin = self.inline.len();
                self.link = Some((dest_url.into_string(), begin));
            }
            Tag::Table(_) => {
                self.flush();
                self.table = Some((Table::bare(), Vec::new()));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Paragraph => {
                self.flush();
                self.gap();
            }
            TagEnd::Heading(_) => {
                self.close();
                self.flush();
                self.gap();
            }
            TagEnd::BlockQuote(_) => {
                self.flush();
                self.quotes = self.quotes.saturating_sub(1);
                self.gap();
            }
            TagEnd::CodeBlock => {
                let code = self.code.take().unwrap_or_default();
                for line in code.lines() {
                    let painted = paint(CODE, line);
                    let lead = format!("{}    ", self.lead());
                    self.out.push_str(format!("{lead}{painted}").trim_end());
                    self.out.push('\n');
                }
                self.gap();
            }
            TagEnd::List(_) => {
                self.flush();
                self.lists.pop();
                self.gap();
            }
            TagEnd::Item => {
                self.flush();
                // An empty item still shows its mark.
                if let Some(mark) = self.mark.take() {
                    let lead = self.lead();
                    self.out.push_str(format!("{lead}{mark}").trim_end());
                    self.out.push('\n');
                }
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.close(),
            TagEnd::Link => {
                if let Some((url, begin)) = self.link.take()
                    && self.inline.get(begin..) != Some(&url)
                {
                    let address = self.again(paint(LINK, url));
                    self.inline.push_str(&format!(" <{address}>"));
                }
            }
            TagEnd::TableCell => {
                let cell = std::mem::take(&mut self.inline).replace(TIED, " ");
                if let Some((_, row)) = &mut self.table {
                    row.push(cell);
                }
            }
            TagEnd::TableHead | TagEnd::TableRow => {
                if let Some((table, row)) = &mut self.table {
                    let cells = std::mem::take(row).into_iter();
                    match tag {
                        TagEnd::TableHead => table.row(cells.map(|cell| paint(STRONG, cell))),
                        _ => table.row(cells),
                    }
                }
            }
            TagEnd::Table => {
                if let Some((table, _)) = self.table.take() {
                    let rendered = table.render(self.width, &format!("{}  ", self.lead()));
                    self.out.push_str(&rendered);
                    self.gap();
                }
            }
            _ => {}
        }
    }

    fn open(&mut self, style: anstyle::Style) {
        self.inline.push_str(&style.render().to_string());
        self.styles.push(style);
    }

    fn close(&mut self) {
        if let Some(style) = self.styles.pop() {
            self.inline.push_str(&style.render_reset().to_string());
            let text = self.again(String::new());
            self.inline.push_str(&text);
        }
    }

    /// Takes up the styles that a reset has ended.
    fn again(&self, mut text: String) -> String {
        for style in &self.styles {
            text.push_str(&style.render().to_string());
        }
        text
    }

    /// Returns what every line begins with.
    fn lead(&self) -> String {
        let mut lead = "│ ".repeat(self.quotes);
        // A list within a list is indented by what the outer mark takes.
        let depth = if self.mark.is_some() { self.lists.len().saturating_sub(1) } else { self.lists.len() };
        for list in self.lists.iter().take(depth) {
            lead.push_str(if list.is_some() { "   " } else { "  " });
        }
        lead
    }

    fn line(&mut self, text: &str) {
        let lead = self.lead();
        self.out.push_str(&lead);
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// Writes the paragraph that was collected.
    fn flush(&mut self) {
        let text = std::mem::take(&mut self.inline);
        if text.trim().is_empty() {
            return;
        }
        let (first, rest) = match self.mark.is_some() {
            true => {
                let lead = self.lead();
                let mark = self.mark.take().unwrap_or_default();
                let rest = format!("{lead}{}", " ".repeat(layout::columns(&mark)));
                (format!("{lead}{mark}"), rest)
            }
            false => (self.lead(), self.lead()),
        };
        let wrapped = layout::wrap(text.trim(), self.width, &first, &rest).replace(TIED, " ");
        self.out.push_str(&wrapped);
        self.out.push('\n');
        self.tight = self.lists.last().is_some();
    }

    /// Leaves one empty line, but none between the items of a list.
    fn gap(&mut self) {
        let in_list = !self.lists.is_empty();
        if !in_list && !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = indoc::indoc! {"
        # The task

        The ServiceAccount `releaser` of namespace `shop-ci` owns the cluster, which is *far* too much.

        1. Take away what it does not **need**.
        2. Keep these:
           - `kubectl get pods -A`
           - more, and this one is so long that it has to go on in the next line
        3. Done

        ```yaml
        kind: Role
          indented: yes
        ```

        > A remark that is quoted and that is long enough to be wrapped too.

        | Name | Port |
        |------|------|
        | `api` | 80 |

        See [the docs](https://kubernetes.io/docs/).
    "};

    #[test]
    fn a_task_reads_well_without_colour() {
        let text = anstream::adapter::strip_str(&render(TASK, 50, false)).to_string();
        let expected = indoc::indoc! {"
            The task

            The ServiceAccount `releaser` of namespace
            `shop-ci` owns the cluster, which is far too much.

            1. Take away what it does not need.
            2. Keep these:
               • `kubectl get pods -A`
               • more, and this one is so long that it has to
                 go on in the next line
            3. Done

                kind: Role
                  indented: yes

            │ A remark that is quoted and that is long enough
            │ to be wrapped too.

              Name   Port
              `api`  80

            See the docs <https://kubernetes.io/docs/>.
        "};
        assert_eq!(text, expected);
    }

    #[test]
    fn code_is_coloured_instead_of_quoted_and_never_broken() {
        let text = render("Type `kubectl get pods -A` here please.", 20, true);
        assert!(text.contains(&paint(CODE, "kubectl get pods -A")), "{text:?}");
        assert!(!text.contains('`'));
    }

    #[test]
    fn a_style_goes_on_after_code_within_it() {
        let text = render("**a `b` c**", 80, true);
        let after = text.split(" c").next().unwrap();
        assert!(after.ends_with(&STRONG.render().to_string()), "{text:?}");
    }
}
