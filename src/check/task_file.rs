//! Files that the learner wrote: read safely from the task folder, and texts parsed in the formats checks know.

use std::path::{Component, Path};

use serde_json::Value;

use super::{CheckError, Finding, Format};

/// The largest file that is read where a check sets no bound.
pub(crate) const LARGEST: u64 = 1024 * 1024;

/// What was found.
pub(crate) enum Content {
    /// The text.
    Text(String),
    /// Nothing that could be read, and why.
    Unusable(Finding),
}

/// Tells what is wrong with the name of a task file, if anything is.
pub(crate) fn lint(file: &str) -> Result<(), &'static str> {
    let path = Path::new(file);
    if file.is_empty() || !path.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err("give a path within the task folder");
    }
    Ok(())
}

/// What was found, as bytes.
pub(crate) enum Bytes {
    /// The bytes.
    Read(Vec<u8>),
    /// Nothing that could be read, and why.
    Unusable(Finding),
}

/// Reads a text of the task folder, and nothing outside: a link that leads out is not followed.
///
/// # Errors
/// [`CheckError`] when the folder or a file that is there cannot be read.
pub(crate) async fn read(folder: &Path, file: &str, largest: u64) -> Result<Content, CheckError> {
    Ok(match read_bytes(folder, file, largest).await? {
        Bytes::Unusable(finding) => Content::Unusable(finding),
        Bytes::Read(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Content::Text(text),
            Err(_) => {
                let label = format!("file {file}");
                Content::Unusable(Finding::new(label, "", "a text", "bytes that are no text"))
            }
        },
    })
}

/// Reads a file of the task folder as [`read`] does.
///
/// # Errors
/// [`CheckError`] when the folder or a file that is there cannot be read.
pub(crate) async fn read_bytes(folder: &Path, file: &str, largest: u64) -> Result<Bytes, CheckError> {
    lint(file).map_err(|fault| CheckError::Spec(format!("`{file}`: {fault}")))?;
    let folder = tokio::fs::canonicalize(folder)
        .await
        .map_err(|error| CheckError::Spec(format!("the task folder cannot be read: {error}")))?;
    let unusable = |expected: &str, actual: &str| {
        Ok(Bytes::Unusable(Finding::new(format!("file {file}"), "", expected, actual)))
    };
    let path = match tokio::fs::canonicalize(folder.join(file)).await {
        Ok(path) => path,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return unusable("it exists", "it does not");
        }
        Err(error) => return Err(unreadable(file, &error)),
    };
    if !path.starts_with(&folder) {
        return unusable("it lies in the task folder", "a link that leads out of it");
    }
    let facts = tokio::fs::metadata(&path).await.map_err(|error| unreadable(file, &error))?;
    // Anything else, such as a pipe, might never end.
    if !facts.is_file() {
        return unusable("a file", "something else");
    }
    if facts.len() > largest {
        return unusable(&format!("at most {largest} bytes"), &format!("{} bytes", facts.len()));
    }
    let bytes = tokio::fs::read(&path).await.map_err(|error| unreadable(file, &error))?;
    Ok(Bytes::Read(bytes))
}

/// Lists the files below a folder of the task folder, as paths relative to that folder, ordered; `None` when there is
/// no such folder. Links to folders are not followed.
///
/// # Errors
/// [`CheckError`] when a folder that is there cannot be read, or holds more than [`MOST_FILES`].
pub(crate) async fn list(folder: &Path, dir: &str) -> Result<Option<Vec<String>>, CheckError> {
    lint(dir).map_err(|fault| CheckError::Spec(format!("`{dir}`: {fault}")))?;
    let mut folders = vec![String::new()];
    let mut files = Vec::new();
    while let Some(below) = folders.pop() {
        let place = folder.join(dir).join(&below);
        let mut entries = match tokio::fs::read_dir(&place).await {
            Ok(entries) => entries,
            Err(error)
                if below.is_empty()
                    && matches!(
                        error.kind(),
                        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
                    ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(unreadable(dir, &error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(|error| unreadable(dir, &error))? {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if below.is_empty() { name } else { format!("{below}/{name}") };
            let kind = entry.file_type().await.map_err(|error| unreadable(dir, &error))?;
            if kind.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
            if files.len() + folders.len() > MOST_FILES {
                return Err(CheckError::Unreadable {
                    file: dir.to_owned(),
                    reason: format!("more than {MOST_FILES} files"),
                });
            }
        }
    }
    files.sort();
    Ok(Some(files))
}

/// How many files a folder may hold.
pub(crate) const MOST_FILES: usize = 1000;

fn unreadable(file: &str, error: &std::io::Error) -> CheckError {
    CheckError::Unreadable { file: file.to_owned(), reason: error.to_string() }
}

/// Parses a text.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn parse(text: &str, format: Format) -> Result<Value, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        Format::Text => Ok(text.into()),
        Format::Lines => Ok(lines(text).into()),
        Format::Ini => Ok(ini(text)),
        Format::Json => serde_json::from_str(text).map_err(|error| error.to_string()),
        Format::JsonLines => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .enumerate()
            .map(|(index, line)| {
                serde_json::from_str::<Value>(line)
                    .map_err(|error| format!("document {}: {error}", index + 1))
            })
            .collect(),
        Format::Yaml => yaml(text),
    }
}

fn yaml(text: &str) -> Result<Value, String> {
    let options = serde_saphyr::options! { legacy_octal_numbers: true };
    let mut documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            // The first line says what is wrong and where; the rest is a picture of the place.
            error.to_string().lines().next().unwrap_or_default().to_owned()
        })?;
    Ok(if documents.len() == 1 { documents.remove(0) } else { Value::Array(documents) })
}

fn lines(text: &str) -> Vec<String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn ini(text: &str) -> Value {
    let mut content = serde_json::Map::new();
    let mut section = String::new();
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.trim().to_owned();
            content.entry(section.clone()).or_insert_with(|| Value::Object(serde_json::Map::new()));
            continue;
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.trim(), value.trim()),
            // sshd and its like separate by space.
            None => line.split_once(char::is_whitespace).map_or((line, ""), |(key, v)| (key, v.trim())),
        };
        let keys = content.entry(section.clone()).or_insert_with(|| Value::Object(serde_json::Map::new()));
        keys[key] = value.into();
    }
    content.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn finding(folder: &Path, file: &str) -> String {
        match read(folder, file, 10).await.unwrap() {
            Content::Text(text) => panic!("read {text}"),
            Content::Unusable(finding) => finding.actual,
        }
    }

    #[tokio::test]
    async fn only_small_texts_within_the_folder_are_read() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::os::unix::fs::symlink(outside.path().join("secret"), at("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), at("dir")).unwrap();
        std::fs::write(at("big"), "12345678901").unwrap();
        std::fs::write(at("binary"), [0xff, 0xfe]).unwrap();
        std::fs::write(at("good"), "yes").unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        assert!(finding(folder.path(), "link").await.contains("leads out"));
        assert!(finding(folder.path(), "dir/secret").await.contains("leads out"));
        assert_eq!(finding(folder.path(), "big").await, "11 bytes");
        assert!(finding(folder.path(), "binary").await.contains("no text"));
        assert_eq!(finding(folder.path(), "none").await, "it does not");
        assert_eq!(finding(folder.path(), "folder").await, "something else");
        assert!(read(folder.path(), "../x", 10).await.is_err());
        assert!(matches!(read(folder.path(), "good", 10).await, Ok(Content::Text(text)) if text == "yes"));
    }

    #[test]
    fn modes_in_yaml_are_octal_and_documents_a_list() {
        assert_eq!(parse("mode: 0600\n", Format::Yaml), Ok(json!({"mode": 384})));
        assert_eq!(parse("a: 1\n---\nb: 2\n", Format::Yaml), Ok(json!([{"a": 1}, {"b": 2}])));
        assert!(parse("a: [", Format::Yaml).is_err());
    }

    #[test]
    fn comments_are_no_settings() {
        let text = "# PermitRootLogin yes\nPermitRootLogin no\n[a]\nx = 1\nx=2\n;x=3\n";
        assert_eq!(parse(text, Format::Ini), Ok(json!({"": {"PermitRootLogin": "no"}, "a": {"x": "2"}})));
        assert_eq!(parse("a\n\n # b\n c \n", Format::Lines), Ok(json!(["a", "c"])));
    }
}
