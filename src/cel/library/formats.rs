//! Named formats of texts: `format.dns1123Label().validate(name)`.

use std::sync::Arc;

use super::regexes::compiled;
use super::time::parse_timestamp;
use super::url::Url;
use super::{Library, fail, text};
use crate::cel::Fault;
use crate::cel::opaque::Opaque;
use crate::cel::value::Val;

/// A format and what it finds wrong with a text.
#[derive(Debug)]
pub struct Format {
    pub(in crate::cel) name: &'static str,
    faults: fn(&str) -> Vec<String>,
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_1035: &str = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

static FORMATS: [Format; 13] = [
    Format { name: "dns1123Label", faults: |text| label(text) },
    Format { name: "dns1123Subdomain", faults: |text| subdomain(text) },
    Format { name: "dns1035Label", faults: |text| label_1035(text) },
    Format { name: "qualifiedName", faults: qualified },
    Format { name: "dns1123LabelPrefix", faults: |text| label(masked(text)) },
    Format { name: "dns1123SubdomainPrefix", faults: |text| subdomain(masked(text)) },
    Format { name: "dns1035LabelPrefix", faults: |text| label_1035(masked(text)) },
    Format { name: "labelValue", faults: label_value },
    Format {
        name: "uri",
        faults: |text| Url::parse(text).err().map(|e| format!("parse {text:?}: {e}")).into_iter().collect(),
    },
    Format {
        name: "uuid",
        faults: |text| {
            unless(
                is(text, "^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"),
                "does not match the UUID format",
            )
        },
    },
    Format {
        name: "byte",
        faults: |text| {
            unless(
                is(text, "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"),
                "invalid base64",
            )
        },
    },
    Format {
        name: "date",
        faults: |text| unless(text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10, "invalid date"),
    },
    Format { name: "datetime", faults: |text| unless(parse_timestamp(text).is_some(), "invalid datetime") },
];

pub(super) fn declare(library: &mut Library) {
    macro_rules! named {
        ($($name:literal)*) => {
            $(library.add(concat!("format.", $name, "() -> kubernetes.NamedFormat"), |_| by_name($name));)*
        };
    }
    named!("dns1123Label" "dns1123Subdomain" "dns1035Label" "qualifiedName" "dns1123LabelPrefix"
        "dns1123SubdomainPrefix" "dns1035LabelPrefix" "labelValue" "uri" "uuid" "byte" "date" "datetime");
    library.add("format.named(string) -> optional_type(kubernetes.NamedFormat)", |args| {
        Ok(Val::Optional(by_name(text(args, 0)).ok().map(Arc::new)))
    });
    library.add("kubernetes.NamedFormat.validate(string) -> optional_type(list(string))", |args| match &args
        [0]
    {
        Val::Opaque(Opaque::Format(format)) => {
            let faults: Vec<Val<'_>> = (format.faults)(text(args, 1)).into_iter().map(Val::from).collect();
            Ok(Val::Optional(if faults.is_empty() { None } else { Some(Arc::new(faults.into())) }))
        }
        _ => fail("no such overload"),
    });
}

fn by_name<'a>(name: &str) -> Result<Val<'a>, Fault> {
    match FORMATS.iter().find(|format| format.name == name) {
        Some(format) => Ok(Val::Opaque(Opaque::Format(format))),
        None => fail(format!("unknown format {name:?}")),
    }
}

fn is(text: &str, pattern: &str) -> bool {
    compiled(pattern).is_ok_and(|regex| regex.is_match(text))
}

fn unless(valid: bool, fault: &str) -> Vec<String> {
    if valid { Vec::new() } else { vec![fault.to_owned()] }
}

fn bounded(text: &str, most: usize, mut faults: Vec<String>) -> Vec<String> {
    if text.len() > most {
        faults.insert(0, format!("must be no more than {most} bytes"));
    }
    faults
}

/// A prefix of a name may end in a dash.
fn masked(text: &str) -> &str {
    text.strip_suffix('-').filter(|rest| !rest.is_empty()).unwrap_or(text)
}

fn label(text: &str) -> Vec<String> {
    bounded(text, 63, unless(is(text, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"), LABEL))
}

fn subdomain(text: &str) -> Vec<String> {
    let pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
    bounded(text, 253, unless(is(text, pattern), SUBDOMAIN))
}

fn label_1035(text: &str) -> Vec<String> {
    bounded(text, 63, unless(is(text, "^[a-z]([-a-z0-9]*[a-z0-9])?$"), LABEL_1035))
}

fn label_value(text: &str) -> Vec<String> {
    let pattern = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$";
    bounded(text, 63, unless(is(text, pattern), LABEL_VALUE))
}

fn qualified(text: &str) -> Vec<String> {
    let (prefix, name) = match text.split('/').collect::<Vec<_>>().as_slice() {
        [name] => (None, *name),
        [prefix, name] => (Some(*prefix), *name),
        _ => {
            return vec![format!(
                "a qualified name {} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                QUALIFIED.trim_start_matches("name part ")
            )];
        }
    };
    let mut faults = Vec::new();
    if let Some(prefix) = prefix {
        if prefix.is_empty() {
            faults.push("prefix part must be non-empty".to_owned());
        } else {
            faults.extend(subdomain(prefix).into_iter().map(|fault| format!("prefix part {fault}")));
        }
    }
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        faults.push("name part must be no more than 63 bytes".to_owned());
    }
    faults.extend(unless(is(name, "^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$"), QUALIFIED));
    faults
}
