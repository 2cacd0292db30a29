//! Reports that come as files, in any form that the program writes: kept by `submit`, as JSON, or as a page. Says
//! whether the seal fits; for a page also whether the page shows what the report in it says.

use serde::Serialize;
use serde_json::Value;

use super::seal::{self, Sealing};
use super::{Report, html};
use crate::persist::Stored as _;

/// In what form a report came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// As `submit` keeps it.
    Kept,
    /// As `report --format json` writes it.
    Json,
    /// As `report --format html` writes it.
    Html,
}

/// Whether a page shows what the report in it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Page {
    /// It does, to the letter.
    Intact,
    /// It was changed.
    Edited,
    /// Another version of the program made it, which may write it in another way.
    Unknown,
}

/// A report that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The report.
    pub report: Report,
    /// What its seal says.
    pub sealing: Sealing,
    /// In what form it came.
    pub form: Form,
    /// Whether the page around it is as it was made; none where there is no page.
    pub page: Option<Page>,
}

impl Read {
    /// Tells whether all of it is known to be as the program wrote it.
    pub fn is_intact(&self) -> bool {
        self.sealing == Sealing::Sealed && matches!(self.page, None | Some(Page::Intact))
    }

    /// Tells whether the report itself can be relied on as it was sealed, whatever an older page around it shows.
    pub fn counts(&self) -> bool {
        self.sealing == Sealing::Sealed && self.page != Some(Page::Edited)
    }
}

/// Why a file is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is neither JSON nor a page with a report in it.
    #[error("it is neither a report as JSON nor a page that was made of one")]
    NoReport,
    /// A newer program kept it.
    #[error("it was kept by a newer version of this program")]
    Newer,
    /// It is not a report of the shape that is known.
    #[error("it is not a report: {0}")]
    Shape(#[source] serde_json::Error),
}

/// Reads a report.
///
/// # Errors
/// [`ReadError`].
pub fn read(bytes: &[u8]) -> Result<Read, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ReadError::NoReport)?;
    let (value, form) = match serde_json::from_str::<Value>(text.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(mut fields)) if fields.contains_key("kind") && fields.contains_key("data") => {
            if fields["kind"] != Report::KIND {
                return Err(ReadError::NoReport);
            }
            if fields["version"].as_u64().is_none_or(|version| version > u64::from(Report::VERSION)) {
                return Err(ReadError::Newer);
            }
            (fields.remove("data").unwrap_or_default(), Form::Kept)
        }
        Ok(value @ Value::Object(_)) => (value, Form::Json),
        _ => {
            let data = html::data(text).ok_or(ReadError::NoReport)?;
            (serde_json::from_str(data).map_err(ReadError::Shape)?, Form::Html)
        }
    };
    let sealing = seal::verify(&value);
    let report: Report = serde_json::from_value(value).map_err(ReadError::Shape)?;
    let page = (form == Form::Html).then(|| page(&report, text));
    Ok(Read { report, sealing, form, page })
}

fn page(report: &Report, text: &str) -> Page {
    // Mail and version control may change line ends; that is no edit.
    let plain = |text: &str| text.replace("\r\n", "\n").trim_end().to_owned();
    match html::render(report) {
        Ok(made) if plain(&made) == plain(text) => Page::Intact,
        _ if report.program != env!("CARGO_PKG_VERSION") => Page::Unknown,
        _ => Page::Edited,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::json;
    use crate::report::tests::{kept, result};

    fn sealed() -> Report {
        let mut report = kept(vec![result()]);
        report.program = env!("CARGO_PKG_VERSION").to_owned();
        report.sealed()
    }

    #[test]
    fn every_form_that_is_written_is_read_and_verified() {
        let report = sealed();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.json");
        crate::persist::save(&path, &report).unwrap();
        for (text, form) in [
            (std::fs::read_to_string(path).unwrap(), Form::Kept),
            (json::render(&report).unwrap(), Form::Json),
            (html::render(&report).unwrap().replace('\n', "\r\n"), Form::Html),
        ] {
            let read = read(text.as_bytes()).unwrap();
            assert_eq!((&read.report, read.form, read.is_intact()), (&report, form, true));
        }
    }

    #[test]
    fn a_page_that_shows_something_else_than_its_report_is_edited() {
        let page = html::render(&sealed()).unwrap();
        let edited = page.replacen("not passed", "passed", 1);
        assert_ne!(page, edited);
        let found = read(edited.as_bytes()).unwrap();
        assert_eq!((found.sealing, found.page), (Sealing::Sealed, Some(Page::Edited)));
        assert!(!found.is_intact());
        let mut other = sealed();
        other.program = "0.0.1".to_owned();
        let other = html::render(&other.sealed()).unwrap().replacen("<h1", "<h1 ", 1);
        let other = read(other.as_bytes()).unwrap();
        assert_eq!((other.page, other.is_intact(), other.counts()), (Some(Page::Unknown), false, true));
    }

    #[test]
    fn what_is_no_report_is_said_so() {
        for text in ["", "hello", "<html></html>", "[]", r#"{"kind": "session", "version": 1, "data": {}}"#] {
            assert!(matches!(read(text.as_bytes()), Err(ReadError::NoReport)), "{text}");
        }
        assert!(matches!(read(br#"{"score": 100}"#), Err(ReadError::Shape(_))));
        let newer = br#"{"kind": "report", "version": 99, "data": {}}"#;
        assert!(matches!(read(newer), Err(ReadError::Newer)));
        assert!(matches!(read(&[0xff, 0xfe]), Err(ReadError::NoReport)));
    }
}
