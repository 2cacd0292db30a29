//! ValidatingAdmissionWebhook: all that are for a request are asked at once, and each may refuse it.

use async_trait::async_trait;

use super::review::{Answered, rejection};
use super::{Failure, Hook, Programs, call, failed_calling};
use crate::sim::admission::{AdmissionCx, AdmissionRequest, Plugin, matching, versioned};
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

static CONFIGURATIONS: GroupResource =
    GroupResource::of("admissionregistration.k8s.io", "validatingwebhookconfigurations");

/// The plugin.
#[derive(Debug, Default)]
pub struct ValidatingAdmissionWebhook {
    programs: Programs,
}

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    async fn validate(&self, cx: &AdmissionCx<'_>, request: &mut AdmissionRequest) -> Result<(), Status> {
        if matching::is_configuration(request) {
            return Ok(());
        }
        let mut calls = Vec::new();
        for hook in self.programs.hooks(cx, &CONFIGURATIONS) {
            let Some(matched) = hook.matches(cx, request).await? else { continue };
            let object = versioned::versioned(cx, request, &matched, request.object()).await?;
            let old = versioned::versioned(cx, request, &matched, request.old()).await?;
            calls.push((call::prepare(cx, &hook, request, &matched, (&object, &old)), hook));
        }
        let asked = calls.into_iter().map(|(call, hook)| async move {
            let answer = match call {
                Ok(call) => call.make(false).await,
                Err(failure) => Err(failure),
            };
            (answer, hook)
        });
        let mut refusal = None;
        for (answer, hook) in futures::future::join_all(asked).await {
            if let Err(status) = judge(request, &hook, answer) {
                refusal.get_or_insert(status);
            }
        }
        refusal.map_or(Ok(()), Err)
    }
}

fn judge(
    request: &mut AdmissionRequest,
    hook: &Hook,
    answer: Result<Answered, Failure>,
) -> Result<(), Status> {
    let name = hook.name();
    match answer {
        Ok(answer) => {
            call::collect(request, name, &answer);
            if answer.allowed { Ok(()) } else { Err(rejection(name, &answer.result)) }
        }
        Err(Failure::Calling(_)) if hook.fails_open() => {
            let key =
                format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{}", hook.position);
            request.audit_annotations.insert(key, name.to_owned());
            Ok(())
        }
        Err(Failure::Calling(why)) => Err(failed_calling(name, &why)),
        Err(Failure::Rejected(status) | Failure::Other(status)) => Err(status),
    }
}
