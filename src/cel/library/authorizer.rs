//! Questions to the authorizer, which the host of the expression answers.

use std::sync::Arc;

use super::{Library, fail, text};
use crate::cel::Fault;
use crate::cel::opaque::{Access, Authorizer, Decision, Opaque};
use crate::cel::value::Val;

pub(super) fn declare(library: &mut Library) {
    library.add(
        "kubernetes.authorization.Authorizer.path(string) -> kubernetes.authorization.PathCheck",
        |args| {
            if text(args, 1).trim().is_empty() {
                return fail("path must not be empty");
            }
            let access = Access { path: text(args, 1).to_owned(), ..Access::default() };
            Ok(Val::Opaque(Opaque::PathCheck(asked(args)?, Arc::new(access))))
        },
    );
    library.add(
        "kubernetes.authorization.Authorizer.group(string) -> kubernetes.authorization.GroupCheck",
        |args| {
            let access = Access { group: text(args, 1).to_owned(), ..Access::default() };
            Ok(Val::Opaque(Opaque::GroupCheck(asked(args)?, Arc::new(access))))
        },
    );
    library.add(
        "kubernetes.authorization.Authorizer.serviceAccount(string, string) -> kubernetes.authorization.Authorizer",
        |args| {
            let (namespace, name) = (text(args, 1), text(args, 2));
            if !is_name(name, 253, true) {
                return fail("Invalid service account name");
            }
            if !is_name(namespace, 63, false) {
                return fail("Invalid service account namespace");
            }
            let account = Arc::new((namespace.to_owned(), name.to_owned()));
            let authorizer = Authorizer { service_account: Some(account), ..asked(args)? };
            Ok(Val::Opaque(Opaque::Authorizer(authorizer)))
        },
    );
    library.add(
        "kubernetes.authorization.GroupCheck.resource(string) -> kubernetes.authorization.ResourceCheck",
        |args| match &args[0] {
            _ if text(args, 1).trim().is_empty() => fail("resource must not be empty"),
            Val::Opaque(Opaque::GroupCheck(authorizer, access)) => {
                let access = Access { resource: text(args, 1).to_owned(), ..access.as_ref().clone() };
                Ok(Val::Opaque(Opaque::ResourceCheck(authorizer.clone(), Arc::new(access))))
            }
            _ => fail("no such overload"),
        },
    );
    macro_rules! refined {
        ($($name:literal => $field:ident,)*) => {
            $(library.add(
                concat!("kubernetes.authorization.ResourceCheck.", $name,
                    "(string) -> kubernetes.authorization.ResourceCheck"),
                |args| match &args[0] {
                    Val::Opaque(Opaque::ResourceCheck(authorizer, access)) => {
                        let access = Access { $field: text(args, 1).to_owned(), ..access.as_ref().clone() };
                        Ok(Val::Opaque(Opaque::ResourceCheck(authorizer.clone(), Arc::new(access))))
                    }
                    _ => fail("no such overload"),
                },
            );)*
        };
    }
    refined! {
        "subresource" => subresource,
        "namespace" => namespace,
        "name" => name,
        "fieldSelector" => field_selector,
        "labelSelector" => label_selector,
    }
    library
        .add("kubernetes.authorization.PathCheck.check(string) -> kubernetes.authorization.Decision", check);
    library.add(
        "kubernetes.authorization.ResourceCheck.check(string) -> kubernetes.authorization.Decision",
        check,
    );
    library.add("kubernetes.authorization.Decision.allowed() -> bool", |args| {
        decision(args).map(|decision| decision.allowed.into())
    });
    library.add("kubernetes.authorization.Decision.reason() -> string", |args| {
        decision(args).map(|decision| Val::text(&decision.reason))
    });
    library.add("kubernetes.authorization.Decision.errored() -> bool", |args| {
        decision(args).map(|decision| decision.error.is_some().into())
    });
    library.add("kubernetes.authorization.Decision.error() -> string", |args| {
        decision(args).map(|decision| Val::text(decision.error.as_deref().unwrap_or_default()))
    });
}

fn asked<'a>(args: &[Val<'a>]) -> Result<Authorizer<'a>, Fault> {
    match &args[0] {
        Val::Opaque(Opaque::Authorizer(authorizer)) => Ok(authorizer.clone()),
        _ => Err(Fault::Error("no such overload".to_owned())),
    }
}

fn check<'a>(args: &[Val<'a>]) -> Result<Val<'a>, Fault> {
    let Val::Opaque(Opaque::PathCheck(authorizer, access) | Opaque::ResourceCheck(authorizer, access)) =
        &args[0]
    else {
        return fail("no such overload");
    };
    let access = Access { verb: text(args, 1).to_owned(), ..access.as_ref().clone() };
    let account = authorizer.service_account.as_ref().map(|account| (account.0.as_str(), account.1.as_str()));
    let decision = authorizer.host.authorize(account, &access);
    Ok(Val::Opaque(Opaque::Decision(Arc::new(decision))))
}

fn decision<'v>(args: &'v [Val<'_>]) -> Result<&'v Decision, Fault> {
    match &args[0] {
        Val::Opaque(Opaque::Decision(decision)) => Ok(decision),
        _ => Err(Fault::Error("no such overload".to_owned())),
    }
}

fn is_name(text: &str, most: usize, dots: bool) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    !text.is_empty()
        && text.len() <= most
        && text.chars().all(|c| plain(c) || c == '-' || (dots && c == '.'))
        && text.starts_with(plain)
        && text.ends_with(plain)
}
