//! MutatingAdmissionWebhook: one after the other is asked, and may change the object by a JSON patch. Those that want it
//! are asked again after later changes.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::review::{Answered, rejection};
use super::{Failure, Hook, Programs, call, failed_calling};
use crate::sim::admission::matching::Matched;
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Plugin, matching, versioned};
use crate::sim::object::Fields as _;
use crate::sim::patch::json::Patch;
use crate::sim::resource::GroupResource;
use crate::sim::schema::document::Document;
use crate::sim::status::Status;

static CONFIGURATIONS: GroupResource =
    GroupResource::of("admissionregistration.k8s.io", "mutatingwebhookconfigurations");

/// The plugin.
#[derive(Debug, Default)]
pub struct MutatingAdmissionWebhook {
    programs: Programs,
}

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "MutatingAdmissionWebhook"
    }

    async fn admit(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if matching::is_configuration(request) {
            return Ok(());
        }
        let hooks = self.programs.hooks(cx, &CONFIGURATIONS);
        if hooks.is_empty() {
            return Ok(());
        }
        let second = request.reinvocation.is_second();
        if second {
            request.reinvocation.webhooks.resume(request.object.as_ref());
        }
        for hook in hooks {
            let Some(matched) = hook.matches(cx, request).await? else { continue };
            if second && !request.reinvocation.webhooks.is_due(&hook.id()) {
                continue;
            }
            let called = ask(cx, request, &hook, &matched).await;
            note(request, &hook, usize::from(second), &called);
            if matches!(called, Ok(Some(_))) {
                request.reinvocation.webhooks.call_again();
                request.reinvocation.want();
            }
            if hook.spec().text("reinvocationPolicy") == "IfNeeded" {
                request.reinvocation.webhooks.had(&hook.id());
            }
            match called {
                Ok(_) => {}
                Err(Failure::Calling(_)) if hook.fails_open() => {}
                Err(Failure::Calling(why)) => return Err(failed_calling(hook.name(), &why)),
                Err(Failure::Rejected(status) | Failure::Other(status)) => return Err(status),
            }
        }
        request.reinvocation.webhooks.finish(request.object.as_ref());
        Ok(())
    }
}

/// Asks one webhook, and makes the change that it wants. Returns its patch where that has changed something.
async fn ask(
    cx: &AdmissionCx<'_>,
    request: &mut AdmissionRequest,
    hook: &Hook,
    matched: &Matched,
) -> Result<Option<Value>, Failure> {
    let other = |status: Status| Failure::Other(Status::internal(status.message));
    let object = versioned::versioned(cx, request, matched, request.object()).await.map_err(other)?;
    let old = versioned::versioned(cx, request, matched, request.old()).await.map_err(other)?;
    let answer = call::prepare(cx, hook, request, matched, (&object, &old))?.make(true).await?;
    call::collect(request, hook.name(), &answer);
    if !answer.allowed {
        return Err(Failure::Rejected(rejection(hook.name(), &answer.result)));
    }
    let Some((patch, source)) = patch_of(&answer)? else { return Ok(None) };
    if request.object.is_none() {
        return Err(Failure::Other(Status::internal(format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name()
        ))));
    }
    if answer.patch_type != "JSONPatch" {
        return Err(Failure::Calling(format!("unsupported patch type {:?}", answer.patch_type)));
    }
    let internal = |why: String| Failure::Other(Status::internal(why));
    let mut patched = object.clone();
    patch.apply_explained(&mut patched).map_err(|error| internal(error.to_string()))?;
    let new = versioned::read(cx, request, matched, &patched).await.map_err(internal)?;
    if request.object.as_ref() == Some(&new) {
        return Ok(None);
    }
    request.object = Some(new);
    Ok(Some(source))
}

fn patch_of(answer: &Answered) -> Result<Option<(Patch, Value)>, Failure> {
    let Some(bytes) = &answer.patch else { return Ok(None) };
    let undecodable =
        |why: String| Failure::Calling(format!("received undecodable patch in webhook response: {why}"));
    let source = Document::parse(bytes).map_err(|error| undecodable(error.to_string()))?.to_value();
    if source.is_null() || source.as_array().is_some_and(Vec::is_empty) {
        return Ok(None);
    }
    let patch = Patch::parse(&source).map_err(|status| undecodable(status.message))?;
    Ok(Some((patch, source)))
}

/// Notes for the audit event what a webhook did.
fn note(request: &mut AdmissionRequest, hook: &Hook, round: usize, called: &Result<Option<Value>, Failure>) {
    let place = format!("webhook.admission.k8s.io/round_{round}_index_{}", hook.position);
    let by = |further: (&str, Value)| {
        let mut note = json!({ "configuration": hook.configuration_name(), "webhook": hook.name() });
        note[further.0] = further.1;
        note
    };
    let patch = called.as_ref().ok().and_then(Option::as_ref);
    let mutated = by(("mutated", patch.is_some().into()));
    request.audit_annotations.insert(format!("mutation.{place}"), mutated.to_string());
    if let Some(patch) = patch {
        let mut note = by(("patch", patch.clone()));
        note["patchType"] = "JSONPatch".into();
        request.audit_annotations.insert(format!("patch.{place}"), note.to_string());
    }
    if matches!(called, Err(Failure::Calling(_))) && hook.fails_open() {
        request.audit_annotations.insert(format!("failed-open.mutation.{place}"), hook.name().to_owned());
    }
}
