//! Takes out of kubectl's output what differs from run to run: uids, times, ages, addresses, hashes, tokens. The rules
//! are the ones that the recording was made with.

use std::sync::LazyLock;

use fancy_regex::Regex;

/// The alphabet of generated name suffixes (k8s.io/apimachinery/pkg/util/rand).
const RAND: &str = "[bcdfghjklmnpqrstvwxz2456789]";

static RULES: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let rules: Vec<(String, &str)> = vec![
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".into(), "<uid>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z".into(), "<time>"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4}( UTC)?".into(), "<time>"),
        (r"\b[EWI]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ [a-z_]+\.go:\d+\]".into(), "<log>"),
        (r#"("?resourceVersion"?: ?)"?\d+"?"#.into(), "${1}<rv>"),
        (r"(?<=\s\s)\d+(y|d|h|m|s)(\d+(d|h|m|s))?(?=\s\s|\s*$)".into(), "<age>"),
        (r"\(\d+(d|h|m|s)(\d+(h|m|s))? ago\)".into(), "(<age> ago)"),
        (r"\b(10|172|192)\.\d+\.\d+\.\d+\b".into(), "<ip>"),
        (r"\bfd00:[0-9a-f:]+\b".into(), "<ip>"),
        (r#"(pod-template-hash|controller-revision-hash)(["=: ]+)[a-z0-9-]+"#.into(), "${1}${2}<hash>"),
        (format!(r"-{RAND}{{8,10}}-{RAND}{{5}}\b"), "-<hash>-<rand>"),
        (format!(r#"-{RAND}{{8,10}}\b(?=[ ",\n/:]|$)"#), "-<hash>"),
        (format!(r#"-{RAND}{{5}}\b(?=[ ",\n/:)]|$)"#), "-<rand>"),
        (r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+".into(), "<jwt>"),
        (r"(https://)?(127\.0\.0\.1|localhost):\d+".into(), "<server>"),
        (r#"(?<=[:\s"])3[0-2]\d{3}(?=[/\s",]|$)"#.into(), "<nodeport>"),
        (r"(?s)(if it was previously negative\))\n.*@@ -\d.*".into(), "${1} <diff>"),
        (r#"Invalid value: [\[{].*"[A-Z]\w*":.*[\]}]: "#.into(), "Invalid value: <object>: "),
        (r"(LIVE|MERGED)-\d+".into(), "${1}"),
        (r"kubectl-edit-\d+".into(), "kubectl-edit"),
        (r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]+".into(), "<pem64>"),
    ];
    rules.into_iter().map(|(rule, with)| (Regex::new(&format!("(?m){rule}")).unwrap(), with)).collect()
});

/// Runs of spaces within a line; the indentation stays.
static SPACES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?<=\S) {2,}").unwrap());

pub fn normalise(text: &str, names: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (name, with) in names {
        text = text.replace(name, with);
    }
    text = text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    for (rule, with) in RULES.iter() {
        text = rule.replace_all(&text, *with).into_owned();
    }
    let lines: Vec<_> = text.lines().map(|line| SPACES.replace_all(line, "  ").into_owned()).collect();
    lines.join("\n").trim().to_owned()
}
