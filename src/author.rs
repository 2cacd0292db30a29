//! What authors of scenarios use: a folder to start from, every fault of what they wrote, and the proof that it works.
//! Emits events and hands back results; printing is for others.

mod dead;
mod job;
mod judge;
mod new;
mod results;
pub mod steps;
mod trial;
mod witness;

pub use new::{NewError, new};
pub use results::{Cell, Column, Proof, TestReport, Trial};
pub use trial::{TestEvent, TestPlan, sweep, test};

use crate::diag::Diagnostic;
use crate::scenario::catalog::{Catalog, CatalogError};

/// Finds everything that is wrong with the named scenarios, with the whole catalog when none is named.
///
/// # Errors
/// [`CatalogError::Unknown`] for a name that is not in the catalog.
pub fn lint(catalog: &Catalog, ids: &[String]) -> Result<Vec<Diagnostic>, CatalogError> {
    if ids.is_empty() {
        return Ok(catalog.lint_all());
    }
    let mut found = Vec::new();
    for id in ids {
        found.extend(catalog.lint(id)?);
    }
    Ok(found)
}
