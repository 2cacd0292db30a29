//! One folder and a variant to a scenario: draw, render, parse, validate. Collects what each stage finds; the stages
//! that a fault makes meaningless are not reached.

use std::collections::BTreeMap;
use std::path::Path;

use super::blocks::keep;
use super::code::Code;
use super::fault::Fault;
use super::files::{Files, SCENARIO_FILE};
use super::raw::{At, RawHeader, RawVars};
use super::render::{Renderer, source_place};
use super::validate::Validation;
use super::{Scenario, Variant, structure, variant};
use crate::diag::{Diagnostic, Severity};

/// What became of a folder.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The scenario, when there is no error.
    pub(crate) scenario: Option<Scenario>,
    /// Every fault; warnings only when they were asked for.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

/// Loads a folder, whose name is `name`; `thorough` asks for warnings too.
pub(crate) fn load(files: &Files, folder: &Path, name: &str, variant: Variant, thorough: bool) -> Loaded {
    let file = folder.join(SCENARIO_FILE);
    let mut loaded = match text(files, &file) {
        Ok(source) => load_source(files, folder, name, variant, thorough, &source),
        Err(fault) => failed(vec![fault], &file),
    };
    loaded.diagnostics.sort_by(|a, b| (&a.span, a.code).cmp(&(&b.span, b.code)));
    loaded.diagnostics.dedup();
    if loaded.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error) {
        loaded.scenario = None;
    }
    loaded
}

fn load_source(
    files: &Files,
    folder: &Path,
    name: &str,
    variant: Variant,
    thorough: bool,
    source: &str,
) -> Loaded {
    let file = folder.join(SCENARIO_FILE);
    let mut faults = templates_in_header(source);
    let (mut renderer, vars) = match renderer(name, variant, source) {
        Ok(both) => both,
        Err(found) => {
            faults.extend(found);
            // Without values every expression is a placeholder; the structure around them can still be judged.
            let Ok(mut renderer) = Renderer::new(BTreeMap::new()) else { return failed(faults, &file) };
            let rendered = renderer.lines_anyway(source);
            if let Err(found) = structure::parse(&rendered) {
                for fault in found {
                    let fault = placed(fault, source, &rendered);
                    if !faults.iter().any(|known| known.at == fault.at) {
                        faults.push(fault);
                    }
                }
            }
            return failed(faults, &file);
        }
    };
    let rendered = match renderer.lines(source) {
        Ok(rendered) => rendered,
        Err(found) => {
            faults.extend(found);
            if faults.iter().any(|fault| fault.code == Code::TemplateStatement) {
                // Lines do not stay where they are: whatever else would be found would be in the wrong place.
                return failed(faults, &file);
            }
            renderer.lines_anyway(source)
        }
    };
    let raw = match structure::parse(&rendered) {
        Ok(raw) => raw,
        Err(found) => {
            faults.extend(found.into_iter().map(|fault| placed(fault, source, &rendered)));
            return failed(faults, &file);
        }
    };
    if !faults.is_empty() {
        return failed(faults, &file);
    }
    let validation = match Validation::new(files, folder, name, source, &rendered, renderer) {
        Ok(validation) => validation,
        Err(fault) => return failed(vec![fault], &file),
    };
    let (scenario, diagnostics) = validation.run(&raw, &vars, variant, thorough);
    Loaded { scenario: Some(scenario), diagnostics }
}

fn renderer(name: &str, variant: Variant, source: &str) -> Result<(Renderer, RawVars), Vec<Fault>> {
    let text = keep(source, &["vars"]);
    let vars: RawVars = match text.is_empty() {
        true => RawVars::default(),
        false => structure::parse_part(&text).map_err(|fault| vec![fault])?,
    };
    variant::draw(name, &vars.vars, variant)
        .and_then(Renderer::new)
        .map(|renderer| (renderer, vars.clone()))
        .map_err(|faults| {
            let place = |name: &str| vars.vars.get(name).map_or(At::START, |var| var.at);
            faults
                .into_iter()
                .map(|fault| Fault::new(fault.code, place(&fault.variable), fault.message))
                .collect()
        })
}

fn templates_in_header(source: &str) -> Vec<Fault> {
    keep(source, &RawHeader::KEYS)
        .lines()
        .zip(1..)
        .filter_map(|(line, number)| {
            let column = u32::try_from(line.find("{{")? + 1).ok()?;
            let at = At { line: number, column };
            Some(Fault::new(Code::TemplateInHeader, at, "a key that listings show uses a variable"))
        })
        .collect()
}

pub(super) fn placed(fault: Fault, source: &str, rendered: &str) -> Fault {
    Fault { at: source_place(source, rendered, fault.at), ..fault }
}

fn failed(faults: Vec<Fault>, file: &Path) -> Loaded {
    Loaded { scenario: None, diagnostics: faults.into_iter().map(|fault| fault.in_file(file)).collect() }
}

/// Reads a text file.
pub(crate) fn text(files: &Files, file: &Path) -> Result<String, Fault> {
    let bytes = files.read(file).map_err(|error| {
        Fault::new(Code::MissingFile, At::START, format!("`{}` cannot be read: {error}", file.display()))
    })?;
    String::from_utf8(bytes.into_owned())
        .map_err(|_| Fault::new(Code::YamlSyntax, At::START, format!("`{}` is not UTF-8", file.display())))
}
