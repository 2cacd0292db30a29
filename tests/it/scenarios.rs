//! Scenario folders as authors write them: what is valid loads, and each code has a fixture that shows it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use cks_lab::diag::Severity;
use cks_lab::scenario::catalog::{Catalog, CatalogError};
use cks_lab::scenario::code::Code;
use cks_lab::scenario::{Role, SeedStep, Variant, schema};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/scenarios")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => {
                fs::copy(entry.path(), to).unwrap();
            }
        }
    }
}

/// A catalog with the base scenario in it, and what the fixture puts over it.
fn catalog_with(overlay: impl FnOnce(&Path)) -> (tempfile::TempDir, Catalog) {
    let root = tempfile::tempdir().unwrap();
    copy(&fixtures().join("valid/base"), &root.path().join("cluster-hardening/base"));
    overlay(root.path());
    let catalog = Catalog::open(root.path()).unwrap();
    (root, catalog)
}

#[test]
fn the_base_of_the_fixtures_has_no_fault() {
    let (_root, catalog) = catalog_with(|_| {});
    assert_eq!(catalog.lint_all(), []);
}

/// Each fixture says in its first line which faults it has and where: `# expect: code line:column, ...`. With `BLESS`
/// set, the line is written instead of compared.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be told to write its fixtures")]
fn each_invalid_fixture_has_exactly_its_faults() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut failures = String::new();
    let mut entries: Vec<_> =
        fs::read_dir(fixtures().join("invalid")).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    let mut names = BTreeSet::new();
    for path in entries {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (_root, catalog) = catalog_with(|root| match path.is_dir() {
            true => {
                copy(&path, root);
                fs::remove_file(root.join("expect")).unwrap();
            }
            false => {
                fs::copy(&path, root.join("cluster-hardening/base/scenario.yaml")).unwrap();
            }
        });
        let found: Vec<String> = catalog
            .lint_all()
            .iter()
            .map(|fault| {
                let span = fault.span.as_ref().unwrap();
                let file = span.file.strip_prefix("cluster-hardening/base").unwrap_or(&span.file);
                let file = if file == Path::new("scenario.yaml") {
                    String::new()
                } else {
                    format!(" {}", file.display())
                };
                format!("{}{file} {}:{}", fault.code, span.line, span.column)
            })
            .collect();
        let found = found.join(", ");
        let expect_file = if path.is_dir() { path.join("expect") } else { path.clone() };
        let text = fs::read_to_string(&expect_file).unwrap();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        if bless {
            fs::write(&expect_file, format!("# expect: {found}\n{rest}")).unwrap();
        } else if first.strip_prefix("# expect: ") != Some(&found) {
            let _ = writeln!(failures, "{name}\n  expected {first}\n  found    # expect: {found}");
        }
        if Code::ALL.iter().any(|code| code.as_str() == name) && !found.contains(&name) {
            let _ = writeln!(failures, "{name} does not show its own code: {found}");
        }
        names.insert(name);
    }
    assert!(failures.is_empty(), "{failures}");
    let unshown: Vec<_> = Code::ALL.iter().filter(|code| !names.contains(code.as_str())).collect();
    assert!(unshown.is_empty(), "no fixture shows {unshown:?}");
}

#[test]
fn warnings_do_not_keep_a_scenario_from_being_used() {
    for code in Code::ALL {
        let path = fixtures().join("invalid").join(format!("{}.yaml", code.as_str()));
        if !path.exists() {
            continue;
        }
        let (_root, catalog) = catalog_with(|root| {
            fs::copy(&path, root.join("cluster-hardening/base/scenario.yaml")).unwrap();
        });
        let loaded = catalog.load("base", Variant(0));
        match code.severity() {
            Severity::Warning => assert!(loaded.is_ok(), "{code:?}: {loaded:?}"),
            Severity::Error => match loaded {
                Err(CatalogError::Invalid { diagnostics, .. }) => {
                    assert!(diagnostics.iter().any(|found| found.code == code.as_str()), "{code:?}");
                }
                other => panic!("{code:?}: {other:?}"),
            },
        }
    }
}

#[test]
fn a_valid_scenario_is_rendered_throughout() {
    let (_root, catalog) = catalog_with(|_| {});
    let scenario = catalog.load("base", Variant(1)).unwrap();
    let app = &scenario.values["app"];
    assert_eq!(
        scenario.task,
        format!("Let the ServiceAccount `worker` of `{app}` read Pods and no Secrets.\n")
    );
    let [SeedStep::Apply { objects, .. }, SeedStep::TaskFile { content, mode, .. }] = &scenario.seed[..]
    else {
        panic!("{:?}", scenario.seed)
    };
    assert_eq!(objects.len(), 2, "the List is taken apart");
    assert_eq!(objects[0]["metadata"]["name"], app.as_str());
    assert_eq!(
        (String::from_utf8_lossy(content).as_ref(), *mode),
        (format!("A note for {app}.\n").as_str(), 0o600)
    );
    assert_eq!(scenario.points().0, 2);
    assert!(matches!(scenario.checks[1].role, Role::Gate(_)));
    assert_eq!(scenario.checks[0].read[0].as_str(), "rbac", "the topic's links are the default");
    assert!(scenario.proofs.right[0].run.contains(app.as_str()));
    assert!(scenario.step_files.keys().any(|file| file == Path::new("solution/role.yaml")));
    assert_eq!(catalog.load("base", Variant(1)).unwrap().values, scenario.values);
    assert_ne!(catalog.load("base", Variant(2)).unwrap().values, scenario.values);
}

#[test]
fn a_folder_with_faults_hides_no_other() {
    let (_root, catalog) = catalog_with(|root| {
        let broken = root.join("cluster-setup/broken");
        fs::create_dir_all(&broken).unwrap();
        fs::write(broken.join("scenario.yaml"), "id: [").unwrap();
    });
    assert_eq!(catalog.summaries().len(), 1);
    assert_eq!(catalog.faults().len(), 1);
    assert!(matches!(catalog.find("broken"), Err(CatalogError::Invalid { .. })));
}

#[test]
fn an_unknown_name_is_met_with_the_one_that_was_meant() {
    let (_root, catalog) = catalog_with(|_| {});
    match catalog.find("bsae") {
        Err(CatalogError::Unknown { similar, .. }) => assert_eq!(similar.as_deref(), Some("base")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_scenario_can_be_opened_by_itself() {
    let catalog = Catalog::open(&fixtures().join("valid/base")).unwrap();
    assert_eq!(catalog.lint_all(), []);
    assert!(catalog.load("base", Variant(0)).is_ok());
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Catalog::open(empty.path()), Err(CatalogError::Empty { .. })));
    assert!(matches!(Catalog::open(&empty.path().join("none")), Err(CatalogError::Unreadable { .. })));
}

#[test]
fn the_scenarios_that_come_with_the_program_have_no_fault() {
    let catalog = Catalog::embedded();
    let faults: Vec<String> = catalog
        .lint_all()
        .iter()
        .map(|fault| {
            let source = fault.span.as_ref().and_then(|span| catalog.source(&span.file));
            fault.render(source.as_deref())
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n\n"));
    assert!(!catalog.summaries().is_empty());
}

#[test]
fn listings_agree_with_what_is_loaded() {
    let catalog = Catalog::embedded();
    for summary in catalog.summaries() {
        let scenario = catalog.load(summary.id.as_str(), Variant(7)).unwrap();
        assert_eq!(summary.points, scenario.points(), "{}", summary.id);
        assert_eq!(summary.title, scenario.title);
        assert_eq!(summary.needs.iter().copied().collect::<BTreeSet<_>>(), scenario.needs);
    }
}

/// `BLESS=1 cargo test --test it schema` writes the file anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be told to write its fixtures")]
fn the_published_schema_is_the_one_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/scenario.schema.json");
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, schema::schema_text()).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == schema::schema_text(), "the schema is out of date");
}

/// `BLESS=1 cargo test --test it lint_codes` writes the file anew.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test may be told to write its fixtures")]
fn the_reference_of_lint_codes_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/lint-codes.md");
    let mut text = String::from(
        "# Lint codes\n\nAn error keeps a scenario from being used, a warning from being accepted. \
         `tests/fixtures/scenarios/invalid` has an example of each.\n\n| code | severity | meaning |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        let _ =
            writeln!(text, "| `{}` | {} | {} |", code.as_str(), code.severity().as_str(), code.describe());
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == text, "the reference is out of date");
}
