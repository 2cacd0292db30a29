//! Shows how two objects differ, as upstream does after "may not change fields": a unified diff of their JSON, with the
//! fields written as Go exports them.

use serde::Serialize;
use serde_json::Value;

use super::cursor::exported;

const CONTEXT: usize = 3;

/// Returns the differing parts, each under a `@@` line.
pub(crate) fn objects(old: &Value, new: &Value) -> String {
    let (old, new) = (lines(old), lines(new));
    let mut out = String::new();
    for hunk in hunks(&edits(&old, &new)) {
        let (mut removed, mut added) = (0, 0);
        let mut body = String::new();
        for edit in hunk {
            let (mark, line) = match edit {
                Edit::Keep(i, _) => (' ', &old[*i]),
                Edit::Remove(i, _) => ('-', &old[*i]),
                Edit::Add(_, j) => ('+', &new[*j]),
            };
            removed += usize::from(mark != '+');
            added += usize::from(mark != '-');
            body.push(mark);
            body.push_str(line);
            body.push('\n');
        }
        let (Edit::Keep(i, j) | Edit::Remove(i, j) | Edit::Add(i, j)) = hunk[0];
        out.push_str(&format!("@@ -{},{removed} +{},{added} @@\n{body}", i + 1, j + 1));
    }
    out
}

fn lines(value: &Value) -> Vec<String> {
    let mut bytes = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, form);
    if exported(value).serialize(&mut serializer).is_err() {
        return Vec::new();
    }
    String::from_utf8_lossy(&bytes).lines().map(str::to_owned).collect()
}

/// One line of either text, with its place in both.
enum Edit {
    Keep(usize, usize),
    Remove(usize, usize),
    Add(usize, usize),
}

/// Finds a shortest way from one text to the other, by the longest common subsequence of what differs in the middle.
fn edits(old: &[String], new: &[String]) -> Vec<Edit> {
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let end = old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (a, b) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    let mut common = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i][j] =
                if a[i] == b[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let mut list: Vec<Edit> = (0..start).map(|i| Edit::Keep(i, i)).collect();
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            list.push(Edit::Keep(start + i, start + j));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[i + 1][j] >= common[i][j + 1]) {
            list.push(Edit::Remove(start + i, start + j));
            i += 1;
        } else {
            list.push(Edit::Add(start + i, start + j));
            j += 1;
        }
    }
    list.extend((0..end).map(|k| Edit::Keep(old.len() - end + k, new.len() - end + k)));
    list
}

/// Cuts the way into pieces with some lines of context around each change.
fn hunks(edits: &[Edit]) -> Vec<&[Edit]> {
    let mut pieces: Vec<(usize, usize)> = Vec::new();
    for (index, _) in edits.iter().enumerate().filter(|(_, edit)| !matches!(edit, Edit::Keep(..))) {
        let (from, to) = (index.saturating_sub(CONTEXT), (index + CONTEXT + 1).min(edits.len()));
        match pieces.last_mut() {
            Some(last) if last.1 >= from => last.1 = to,
            _ => pieces.push((from, to)),
        }
    }
    pieces.into_iter().map(|(from, to)| &edits[from..to]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let text = objects(
            &json!({"containers": [{"name": "app", "command": ["sleep", "3600"], "tty": true, "z": 1}]}),
            &json!({"containers": [{"name": "app", "command": ["x"], "tty": true, "z": 1}]}),
        );
        let expected = "@@ -2,8 +2,7 @@
  \"Containers\": [
   {
    \"Command\": [
-    \"sleep\",
-    \"3600\"
+    \"x\"
    ],
    \"Name\": \"app\",
    \"Tty\": true,
";
        assert_eq!(text, expected);
    }
}
