//! `checksum`: files told apart by their digests: those that differ from a list of sums removed, the others byte for byte
//! as they were, and digests as the learner wrote them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use ring::digest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::api::Api;
use super::task_file::{self, Bytes, Content};
use super::{Check, CheckCx, CheckError, Finding, Verdict, object};

/// Compares the files of a folder with what was seeded, byte for byte. At least one expectation is given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Checksum {
    /// The folder, relative to the task folder.
    pub dir: String,
    /// A file in the folder with sums as `sha512sum` writes them, taken as it was seeded: what differs from it must be
    /// removed, what agrees must stay. Instead of `removed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sums: Option<String>,
    /// Files that must be gone; all others that were seeded must stay as they were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Seeded files that must be as they were; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<String>,
    /// Nothing may have been added to the folder.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing_added: bool,
    /// A file of the task folder with exactly the names of the files that differ from `sums`, one a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<String>,
    /// The digests that the learner writes down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digests: Option<WrittenDigests>,
}

/// Digests that the learner writes down, as `sha256sum` does or as `name: digest`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WrittenDigests {
    /// The file, relative to the task folder.
    pub file: String,
    /// The algorithm.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// The files of the folder whose digests it must hold: these and no others.
    pub of: Vec<String>,
}

/// How a digest is computed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Algorithm {
    /// SHA-256.
    #[default]
    Sha256,
    /// SHA-512.
    Sha512,
}

/// The largest file that is digested.
const LARGEST: u64 = 64 * 1024 * 1024;

impl Check for Checksum {
    fn lint(&self, faults: &mut Vec<String>) {
        let digests = self.digests.as_ref();
        let files = [Some(&self.dir), self.sums.as_ref(), self.names.as_ref(), digests.map(|of| &of.file)];
        for file in files.into_iter().flatten().chain(&self.removed) {
            if let Err(fault) = task_file::lint(file) {
                faults.push(format!("`{file}`: {fault}"));
            }
        }
        let asks = self.sums.is_some()
            || !self.removed.is_empty()
            || !self.kept.is_empty()
            || self.nothing_added
            || digests.is_some();
        if !asks {
            faults.push("checksum: without an expectation it cannot fail".to_owned());
        }
        if self.sums.is_some() && !self.removed.is_empty() {
            faults.push("removed: it follows from sums".to_owned());
        }
        if self.names.is_some() && self.sums.is_none() {
            faults.push("names: it goes with sums".to_owned());
        }
        if digests.is_some_and(|digests| digests.of.is_empty()) {
            faults.push("digests.of: name the files".to_owned());
        }
    }

    async fn record(&self, cx: &CheckCx<'_>) -> Result<Value, CheckError> {
        let wrong = |text: String| Err(CheckError::Spec(text));
        let Some(files) = digested(cx.task_dir, &self.dir).await? else {
            return wrong(format!("there is no folder `{}` after the seed", self.dir));
        };
        let mut differ = Vec::new();
        if let Some(sums) = &self.sums {
            let path = format!("{}/{sums}", self.dir);
            let Content::Text(text) = task_file::read(cx.task_dir, &path, task_file::LARGEST).await? else {
                return wrong(format!("there is no `{path}` after the seed"));
            };
            let listed = pairs(&text);
            for (name, sum) in &listed {
                let Some(file) = files.get(name) else { return wrong(format!("`{sums}` lists `{name}`")) };
                if !file.is(sum) {
                    differ.push(name.clone());
                }
            }
            if differ.is_empty() || differ.len() == listed.len() {
                return wrong(format!("of {} files in `{sums}`, {} differ", listed.len(), differ.len()));
            }
        }
        let of = self.digests.as_ref().map(|digests| digests.of.as_slice()).unwrap_or_default();
        if let Some(name) = self.removed.iter().chain(of).find(|name| !files.contains_key(*name)) {
            return wrong(format!("there is no `{name}` in `{}` after the seed", self.dir));
        }
        let files: Map<String, Value> =
            files.into_iter().map(|(name, file)| (name, json!([file.sha256, file.sha512]))).collect();
        Ok(json!({"files": files, "differ": differ}))
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        Api::new(cx.client.clone()).alive().await?;
        let seeded = cx.baseline.and_then(|baseline| baseline["files"].as_object());
        let seeded: BTreeMap<&String, Digests> = seeded
            .ok_or(CheckError::NoBaseline)?
            .iter()
            .map(|(name, sums)| {
                (name, Digests { sha256: object::show(&sums[0]), sha512: object::show(&sums[1]) })
            })
            .collect();
        let differ = cx.baseline.map(|baseline| baseline["differ"].clone()).unwrap_or_default();
        let differ: Vec<String> = serde_json::from_value(differ).map_err(|_| CheckError::NoBaseline)?;
        let mut findings = Vec::new();
        let now = match digested(cx.task_dir, &self.dir).await? {
            Some(now) => now,
            None => {
                let label = format!("folder {}", self.dir);
                return Ok(Verdict::Fail(vec![Finding::new(label, "", "it exists", "it does not")]));
            }
        };
        let label = |name: &str| format!("file {}/{name}", self.dir);
        let removed: BTreeSet<&String> = differ.iter().chain(&self.removed).collect();
        for name in &removed {
            if now.contains_key(*name) {
                findings.push(Finding::new(label(name), "", "it does not exist", "it exists"));
            }
        }
        let all_stay = !removed.is_empty();
        for (name, before) in &seeded {
            let stays = all_stay || self.kept.iter().any(|pattern| object::matches(pattern, name));
            if !stays || removed.contains(name) {
                continue;
            }
            match now.get(*name) {
                None => findings.push(Finding::new(label(name), "", "it exists", "it does not")),
                Some(after) if after.sha512 != before.sha512 => {
                    findings.push(Finding::new(label(name), "sha256", &before.sha256, &after.sha256));
                }
                Some(_) => {}
            }
        }
        if self.nothing_added {
            for name in now.keys().filter(|name| !seeded.contains_key(name)) {
                findings.push(Finding::new(label(name), "", "it does not exist", "it was added"));
            }
        }
        if let Some(file) = &self.names {
            names(cx.task_dir, file, &self.dir, &differ, &mut findings).await?;
        }
        if let Some(digests) = &self.digests {
            digests.judge(cx.task_dir, &self.dir, &seeded, &mut findings).await?;
        }
        Ok(Verdict::of(findings))
    }
}

/// Compares the names that the learner wrote down.
async fn names(
    task_dir: &Path,
    file: &str,
    dir: &str,
    differ: &[String],
    findings: &mut Vec<Finding>,
) -> Result<(), CheckError> {
    let text = match task_file::read(task_dir, file, task_file::LARGEST).await? {
        Content::Text(text) => text,
        Content::Unusable(finding) => {
            findings.push(finding);
            return Ok(());
        }
    };
    let label = format!("file {file}");
    let given: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches('\u{feff}').trim())
        .filter(|line| !line.is_empty())
        .map(|line| bare(line, dir))
        .collect();
    for (index, name) in given.iter().enumerate().filter(|(_, name)| !differ.iter().any(|one| one == *name)) {
        findings.push(Finding::new(
            &label,
            format!("line {}", index + 1),
            "not there",
            object::shorten(name),
        ));
    }
    let missing = differ.iter().filter(|name| !given.contains(&name.as_str())).count();
    if missing > 0 {
        let expected = format!("exactly {} names", differ.len());
        findings.push(Finding::new(&label, "lines", expected, format!("{missing} missing")));
    }
    Ok(())
}

impl WrittenDigests {
    async fn judge(
        &self,
        task_dir: &Path,
        dir: &str,
        seeded: &BTreeMap<&String, Digests>,
        findings: &mut Vec<Finding>,
    ) -> Result<(), CheckError> {
        let text = match task_file::read(task_dir, &self.file, task_file::LARGEST).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => {
                findings.push(finding);
                return Ok(());
            }
        };
        let label = format!("file {}", self.file);
        let given: BTreeMap<String, String> =
            pairs(&text).into_iter().map(|(name, sum)| (bare(&name, dir).to_owned(), sum)).collect();
        for name in &self.of {
            let right = seeded.get(name).map(|digests| match self.algorithm {
                Algorithm::Sha256 => digests.sha256.as_str(),
                Algorithm::Sha512 => digests.sha512.as_str(),
            });
            let expected = match self.algorithm {
                Algorithm::Sha256 => "its SHA-256",
                Algorithm::Sha512 => "its SHA-512",
            };
            match given.get(name) {
                None => findings.push(Finding::new(&label, name, expected, "nothing")),
                Some(sum) if Some(sum.as_str()) != right => {
                    findings.push(Finding::new(&label, name, expected, object::shorten(sum)));
                }
                Some(_) => {}
            }
        }
        for name in given.keys().filter(|name| !self.of.contains(name)) {
            findings.push(Finding::new(&label, object::shorten(name), "not there", "a digest"));
        }
        Ok(())
    }
}

/// The digests of a file.
#[derive(Debug, Clone)]
struct Digests {
    sha256: String,
    sha512: String,
}

impl Digests {
    fn of(bytes: &[u8]) -> Self {
        let hex = |algorithm| {
            let digest = digest::digest(algorithm, bytes);
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Self { sha256: hex(&digest::SHA256), sha512: hex(&digest::SHA512) }
    }

    fn is(&self, sum: &str) -> bool {
        sum == self.sha256 || sum == self.sha512
    }
}

async fn digested(task_dir: &Path, dir: &str) -> Result<Option<BTreeMap<String, Digests>>, CheckError> {
    let Some(names) = task_file::list(task_dir, dir).await? else { return Ok(None) };
    let mut files = BTreeMap::new();
    for name in names {
        if let Bytes::Read(bytes) = task_file::read_bytes(task_dir, &format!("{dir}/{name}"), LARGEST).await?
        {
            files.insert(name, Digests::of(&bytes));
        }
    }
    Ok(Some(files))
}

/// Takes a folder in front of a name away.
fn bare<'a>(name: &'a str, dir: &str) -> &'a str {
    let name = name.strip_prefix("./").unwrap_or(name);
    name.strip_prefix(dir).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name)
}

/// Reads names with digests: `digest  name`, `digest *name`, `name: digest`, `name digest`, `name=sha256:digest`, and
/// what `--tag` writes, `SHA256 (name) = digest`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for line in text.lines() {
        let line = line.trim_start_matches('\u{feff}').trim();
        let words: Vec<&str> = line
            .split(|char: char| char.is_whitespace() || char == '=' || char == ',')
            .map(|word| word.trim_matches(['(', ')', '*', '"', '\'']))
            .filter(|word| !word.is_empty() && *word != "SHA256" && *word != "SHA512" && *word != "-")
            .collect();
        let sum = |word: &str| {
            let word = word.strip_prefix("sha256:").or_else(|| word.strip_prefix("sha512:")).unwrap_or(word);
            let hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
            (hex && [64, 128].contains(&word.len())).then(|| word.to_lowercase())
        };
        let name = |word: &str| word.trim_end_matches(':').to_owned();
        match words.as_slice() {
            [] => {}
            [first, second] => match (sum(first), sum(second)) {
                (Some(sum), None) => pairs.push((name(second), sum)),
                (None, Some(sum)) => pairs.push((name(first), sum)),
                _ => pairs.push((name(first), (*second).to_owned())),
            },
            [first, rest @ ..] => pairs.push((name(first), rest.join(" "))),
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_read_in_every_form_that_tools_write() {
        let sum = "a".repeat(64);
        for line in [
            format!("{sum}  kubectl"),
            format!("{sum} *kubectl"),
            format!("kubectl: {sum}"),
            format!("- kubectl: \"sha256:{sum}\""),
            format!("SHA256 (kubectl) = {}", sum.to_uppercase()),
        ] {
            assert_eq!(pairs(&line), [("kubectl".to_owned(), sum.clone())], "{line}");
        }
        assert_eq!(
            Digests::of(b"").sha256,
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
