//! The top-level blocks of a `scenario.yaml` by indentation alone. A source is no YAML before it is rendered, but its
//! `vars` and the keys that listings show must be read before that.

/// A top-level key and the lines that belong to it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    pub(crate) key: &'a str,
    /// The line of the key, from 1.
    pub(crate) line: u32,
    pub(crate) text: &'a str,
}

/// Splits a source into its top-level blocks; what stands before the first key belongs to none.
pub(crate) fn blocks(source: &str) -> Vec<Block<'_>> {
    let mut starts: Vec<(&str, usize, u32)> = Vec::new();
    let mut offset = 0;
    for (number, line) in source.split_inclusive('\n').enumerate() {
        if let Some(key) = top_level_key(line) {
            starts.push((key, offset, u32::try_from(number + 1).unwrap_or(u32::MAX)));
        }
        offset += line.len();
    }
    let ends = starts.iter().skip(1).map(|(_, offset, _)| *offset).chain([source.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|((key, start, line), end)| Block { key, line: *line, text: &source[*start..end] })
        .collect()
}

/// Returns the source with every line blank that does not belong to one of the keys, so that lines keep their numbers.
pub(crate) fn keep(source: &str, keys: &[&str]) -> String {
    let mut kept = String::new();
    let mut line = 1;
    for block in blocks(source) {
        if keys.contains(&block.key) {
            (line..block.line).for_each(|_| kept.push('\n'));
            kept.push_str(block.text);
            line = block.line + u32::try_from(block.text.matches('\n').count()).unwrap_or(u32::MAX);
        }
    }
    kept
}

/// Adds up the points of checks as listings do: plain numbers, each on a line `points: 3` of its own.
pub(crate) fn points(source: &str) -> u32 {
    let Some(checks) = blocks(source).into_iter().find(|block| block.key == "checks") else { return 0 };
    checks
        .text
        .lines()
        .filter_map(|line| {
            let line = line.trim_start();
            let value = line.strip_prefix("- ").unwrap_or(line).trim_start().strip_prefix("points:")?;
            value.split('#').next()?.trim().parse::<u32>().ok()
        })
        .fold(0, u32::saturating_add)
}

fn top_level_key(line: &str) -> Option<&str> {
    let (key, _) = line.split_once(':')?;
    let key = key.trim_end();
    let bare = key
        .strip_prefix('"')
        .and_then(|key| key.strip_suffix('"'))
        .or_else(|| key.strip_prefix('\'').and_then(|key| key.strip_suffix('\'')))
        .unwrap_or(key);
    let fits = bare.starts_with(|c: char| c.is_ascii_alphabetic())
        && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    fits.then_some(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = "# head\napiVersion: x\nid: a\n\nvars:\n  b: { word: true }\n  # c: d\n# e: f\nchecks:\n- id: k\n  points: 3 # three\n- points: 4\n  run: |\n    vars: no\n";

    #[test]
    fn blocks_begin_at_the_margin() {
        let found: Vec<_> = blocks(SOURCE).iter().map(|block| (block.key, block.line)).collect();
        assert_eq!(found, [("apiVersion", 2), ("id", 3), ("vars", 5), ("checks", 9)]);
    }

    #[test]
    fn kept_blocks_keep_their_lines() {
        assert_eq!(keep(SOURCE, &["vars"]), "\n\n\n\nvars:\n  b: { word: true }\n  # c: d\n# e: f\n");
        let header = keep(SOURCE, &["id", "checks"]);
        assert_eq!(header.lines().nth(2), Some("id: a"));
        assert_eq!(header.lines().nth(8), Some("checks:"));
    }

    #[test]
    fn points_are_added_up_without_rendering() {
        assert_eq!(points(SOURCE), 7);
        assert_eq!(points("checks:\n- points: {{ n }}\n"), 0);
    }
}
