//! The generated part of `docs/reference/` says what the command line and the types say.
//! `CKS_LAB_BLESS=1 cargo test --test it reference` writes it anew.

use std::path::Path;

#[test]
#[expect(clippy::disallowed_methods, reason = "a developer asks by the environment to write the pages")]
fn reference_is_in_step() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    let bless = std::env::var_os("CKS_LAB_BLESS").is_some();
    let mut stale = Vec::new();
    for (name, text) in cks_lab::cli::reference::files() {
        let path = folder.join(name);
        if bless {
            std::fs::write(&path, &text).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(path);
        }
    }
    assert!(stale.is_empty(), "run with CKS_LAB_BLESS=1 to write {stale:?} anew");
}
