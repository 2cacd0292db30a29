//! Columns and times as the tools of a node write them.

use jiff::Timestamp;

/// Lays out rows as Go's tabwriter does with a least width of 20 and a padding of 3, which is what `crictl` uses.
pub(super) fn wide(rows: &[Vec<String>]) -> String {
    columns(rows, 20, 3)
}

/// Lays out rows in columns; the last cell of a row is not padded.
pub(super) fn columns(rows: &[Vec<String>], least: usize, padding: usize) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        // A last cell does not make its column wider, as it ends the line.
        let cells = rows.iter().filter(|row| column + 1 < row.len()).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + padding).max().unwrap_or_default().max(least)
    };
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            if column + 1 == row.len() {
                out.push_str(cell);
            } else {
                out.push_str(&format!("{cell:<width$}", width = widths[column]));
            }
        }
        out.push('\n');
    }
    out
}

/// Words how long ago something was, as `crictl` does.
pub(super) fn ago(now: Timestamp, then: Timestamp) -> String {
    let seconds = (now.as_second() - then.as_second()).max(0);
    let (minutes, hours) = (seconds / 60, (seconds as f64 / 3600.0).round() as i64);
    let text = match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..60, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (.., 1) => "About an hour".to_owned(),
        (.., 2..48) => format!("{hours} hours"),
        (.., 48..336) => format!("{} days", hours / 24),
        (.., 336..1440) => format!("{} weeks", hours / 24 / 7),
        (.., 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    };
    format!("{text} ago")
}

/// Words a span as systemd does: its two largest units.
pub(super) fn span(seconds: i64) -> String {
    const UNITS: [(&str, i64); 7] = [
        ("y", 31_557_600),
        ("month", 2_629_800),
        ("w", 604_800),
        ("day", 86_400),
        ("h", 3600),
        ("min", 60),
        ("s", 1),
    ];
    let mut left = seconds.max(0);
    let mut parts = Vec::new();
    for (unit, length) in UNITS {
        let count = left / length;
        left %= length;
        if count > 0 && parts.len() < 2 {
            let plural = if count > 1 && matches!(unit, "month" | "day") { "s" } else { "" };
            // Seconds beside hours are not worth telling.
            if !(unit == "s" && parts.first().is_some_and(|first: &String| !first.ends_with("min"))) {
                parts.push(format!("{count}{unit}{plural}"));
            }
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_read_as_the_tools_word_them() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, words) in [
            (0, "Less than a second ago"),
            (3, "3 seconds ago"),
            (60, "About a minute ago"),
            (150, "2 minutes ago"),
            (3600, "About an hour ago"),
            (86_400, "24 hours ago"),
            (864_000, "10 days ago"),
        ] {
            assert_eq!(ago(at(seconds), at(0)), words);
        }
        for (seconds, words) in [
            (0, "0s"),
            (59, "59s"),
            (780, "13min"),
            (125, "2min 5s"),
            (3700, "1h 1min"),
            (180_000, "2days 2h"),
        ] {
            assert_eq!(span(seconds), words);
        }
    }

    #[test]
    fn a_column_is_as_wide_as_its_widest_cell() {
        let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect();
        let rows = [row(&["POD", "NAMESPACE"]), row(&["kube-apiserver-lab-control-plane", "kube-system"])];
        assert_eq!(
            wide(&rows),
            "POD                                NAMESPACE\nkube-apiserver-lab-control-plane   kube-system\n"
        );
    }
}
