//! Who is let in without credentials, by flag or by file, and the users of static tokens.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Anonymous, Flags, Mode, Read, document, kind};
use crate::sim::attributes::UserInfo;
use crate::sim::object::Fields as _;

const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];

/// Works out which requests without credentials are let in.
///
/// # Errors
/// In the words of a server that does not start.
pub(super) fn anonymous(
    flags: &Flags,
    read: Read<'_>,
    modes: &[Mode],
    warnings: &mut Vec<String>,
) -> Result<Anonymous, String> {
    let configured = match flags.text("authentication-config") {
        "" => None,
        path => by_file(
            path,
            &read(path)
                .map_err(|why| format!("failed to read authentication configuration file {path:?}: {why}"))?,
        )?,
    };
    if let Some(anonymous) = configured {
        if flags.has("anonymous-auth") {
            return Err("anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in \
                        authentication configuration file"
                .to_owned());
        }
        return Ok(anonymous);
    }
    if !flags.truth("anonymous-auth", true) {
        return Ok(Anonymous::Refused);
    }
    if modes.contains(&Mode::AlwaysAllow) {
        warnings.push(
            "authentication.go:815] AnonymousAuth is not allowed with the AlwaysAllow authorizer. Resetting AnonymousAuth to \
             false. You should use a different authorizer"
                .to_owned(),
        );
        return Ok(Anonymous::Refused);
    }
    Ok(Anonymous::Allowed)
}

fn by_file(path: &str, text: &str) -> Result<Option<Anonymous>, String> {
    let failed =
        |why: String| format!("failed to load authentication configuration from file {path:?}: {why}");
    let document = document(text).map_err(failed)?;
    let (version, name) = kind(&document);
    if !VERSIONS.contains(&version) || name != "AuthenticationConfiguration" {
        return Err(failed(format!(
            "no kind {name:?} is registered for version {version:?} in scheme \"pkg/apis/apiserver/load/load.go\""
        )));
    }
    let mut unknown = Vec::new();
    known(&document, "", &["apiVersion", "kind", "jwt", "anonymous"], &mut unknown);
    let anonymous = document.at("anonymous");
    known(anonymous, "anonymous.", &["enabled", "conditions"], &mut unknown);
    for (index, condition) in anonymous.items("conditions").iter().enumerate() {
        known(condition, &format!("anonymous.conditions[{index}]."), &["path"], &mut unknown);
    }
    if !unknown.is_empty() {
        return Err(failed(format!("strict decoding error: {}", unknown.join(", "))));
    }
    if !document.items("jwt").is_empty() {
        return Err(failed("jwt authenticators are not simulated".to_owned()));
    }
    if anonymous.is_null() {
        return Ok(None);
    }
    let paths: Vec<String> =
        anonymous.items("conditions").iter().map(|condition| condition.text("path").to_owned()).collect();
    match (anonymous.truth("enabled").unwrap_or_default(), paths.is_empty()) {
        (true, true) => Ok(Some(Anonymous::Allowed)),
        (true, false) => Ok(Some(Anonymous::At(paths))),
        (false, true) => Ok(Some(Anonymous::Refused)),
        (false, false) => {
            let shown: Vec<String> = paths.iter().map(|path| format!("{{\"Path\":{path:?}}}")).collect();
            Err(format!(
                "invalid authentication configuration: anonymous.conditions: Invalid value: [{}]: enabled should be set to \
                 true when conditions are defined",
                shown.join(",")
            ))
        }
    }
}

fn known(value: &Value, path: &str, fields: &[&str], unknown: &mut Vec<String>) {
    let names = value.as_object().into_iter().flat_map(|fields| fields.keys());
    unknown.extend(
        names
            .filter(|name| !fields.contains(&name.as_str()))
            .map(|name| format!("unknown field \"{path}{name}\"")),
    );
}

/// Reads the users of a token file: token, name, uid, and optionally the groups.
///
/// # Errors
/// In the words of a server that does not start.
pub(super) fn tokens(text: &str) -> Result<BTreeMap<String, UserInfo>, String> {
    let mut users = BTreeMap::new();
    let mut rows = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    for (index, row) in rows.records().enumerate() {
        let row = row.map_err(|error| error.to_string())?;
        let field = |at: usize| row.get(at).unwrap_or_default().trim();
        if row.len() < 3 {
            let found = row.len();
            return Err(format!(
                "token file must have at least 3 columns (token, user name, user uid), found {found} in line {}",
                index + 1
            ));
        }
        let groups = field(3).split(',').map(str::trim).filter(|group| !group.is_empty());
        let user = UserInfo {
            username: field(1).to_owned(),
            uid: field(2).to_owned(),
            groups: groups.map(str::to_owned).collect(),
            ..UserInfo::default()
        };
        users.insert(field(0).to_owned(), user);
    }
    Ok(users)
}
