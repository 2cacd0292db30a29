//! A fault before it is known in which file it lies: what the modules that parse and check hand back.

use std::path::Path;

use super::code::Code;
use super::raw::At;
use crate::diag::{Diagnostic, Span};

/// A fault at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: Code,
    pub(crate) at: At,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Fault {
    pub(crate) fn new(code: Code, at: At, message: impl Into<String>) -> Self {
        Self { code, at, message: message.into(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds "did you mean" when something is close.
    pub(crate) fn suggest(mut self, suggestion: Option<&str>) -> Self {
        if let Some(known) = suggestion {
            self.help = Some(format!("did you mean `{known}`?"));
        }
        self
    }

    /// Says where: `file` is relative to the catalog.
    pub(crate) fn in_file(self, file: &Path) -> Diagnostic {
        Diagnostic {
            code: self.code.as_str(),
            severity: self.code.severity(),
            message: self.message,
            span: Some(Span { file: file.to_path_buf(), line: self.at.line, column: self.at.column }),
            help: self.help,
        }
    }
}
