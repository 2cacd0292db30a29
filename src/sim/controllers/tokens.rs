//! Tokens of service accounts that Secrets keep: fills the Secrets of type `kubernetes.io/service-account-token`, and
//! removes those whose account is gone.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Authority;
use super::accounts::SERVICE_ACCOUNTS;
use super::engine::{Controller, Cx, Next, Notice};
use super::queue::{Key, Queue};
use crate::sim::attributes::UserInfo;
use crate::sim::client::DeleteOptions;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;

const SECRETS: GroupResource = GroupResource::of("", "secrets");
const TYPE: &str = "kubernetes.io/service-account-token";
const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

/// Fills and removes the Secrets.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// The cluster's keys.
    pub authority: Arc<dyn Authority>,
}

#[async_trait]
impl Controller for Tokens {
    fn name(&self) -> &'static str {
        "tokens-controller"
    }

    fn user(&self) -> UserInfo {
        // Started before there are service accounts to act as.
        UserInfo::named("system:kube-controller-manager", &[])
    }

    fn follows(&self) -> Vec<GroupResource> {
        vec![SECRETS, SERVICE_ACCOUNTS]
    }

    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue) {
        if notice.is(&SECRETS) {
            if notice.object["type"] == TYPE && !notice.is_gone() {
                queue.add(notice.key());
            }
            return;
        }
        // An account that has come or gone is a matter of the Secrets that name it.
        if !notice.changed("/metadata/uid") && !notice.is_gone() {
            return;
        }
        let (namespace, account) = (meta::namespace(notice.object), meta::name(notice.object));
        for secret in cx.list(&SECRETS, Some(namespace)) {
            if secret["type"] == TYPE && meta::annotation(&secret, NAME) == Some(account) {
                queue.add(Key::new(namespace, meta::name(&secret)));
            }
        }
    }

    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status> {
        let Some(secret) = cx.get(&SECRETS, &key.namespace, &key.name) else { return Ok(Next::Done) };
        if secret["type"] != TYPE || meta::is_deleting(&secret) {
            return Ok(Next::Done);
        }
        let Some(name) = meta::annotation(&secret, NAME).filter(|name| !name.is_empty()) else {
            return Ok(Next::Done);
        };
        let wanted = meta::annotation(&secret, UID).filter(|uid| !uid.is_empty());
        let account = cx
            .get(&SERVICE_ACCOUNTS, &key.namespace, name)
            .filter(|account| wanted.is_none_or(|uid| uid == meta::uid(account)));
        let Some(account) = account else {
            let options =
                DeleteOptions { uid: Some(meta::uid(&secret).to_owned()), ..DeleteOptions::default() };
            return match cx.client.delete(&SECRETS, &key.namespace, &key.name, options).await {
                Err(status) if status.code != 404 => Err(status),
                _ => Ok(Next::Done),
            };
        };
        let Some(filled) = self.filled(&secret, &account).map_err(Status::internal)? else {
            return Ok(Next::Done);
        };
        cx.client.update(&SECRETS, &key.namespace, &key.name, filled).await?;
        Ok(Next::Done)
    }
}

impl Tokens {
    /// Returns the Secret with what is missing of it; none when nothing is.
    fn filled(&self, secret: &Value, account: &Value) -> Result<Option<Value>, String> {
        let mut filled = secret.clone();
        if !filled["data"].is_object() {
            filled["data"] = json!({});
        }
        let data = &mut filled["data"];
        data["ca.crt"] = STANDARD.encode(self.authority.root_certificate()).into();
        if data["namespace"].as_str().unwrap_or_default().is_empty() {
            data["namespace"] = STANDARD.encode(meta::namespace(secret)).into();
        }
        if data["token"].as_str().unwrap_or_default().is_empty() {
            let token = self.authority.legacy_token(account, meta::name(secret))?;
            data["token"] = STANDARD.encode(token).into();
        }
        filled["metadata"]["annotations"][UID] = meta::uid(account).into();
        Ok((filled != *secret).then_some(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Lab;
    use super::*;

    fn secret(name: &str, account: &str, more: &str) -> String {
        format!(
            "{{apiVersion: v1, kind: Secret, type: {TYPE}, metadata: {{name: {name}, annotations: {{{NAME}: {account}, \
             {more}}}}}}}"
        )
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_gets_the_token_of_its_account_and_goes_with_it() {
        let lab = Lab::new(0).await;
        lab.apply("{apiVersion: v1, kind: ServiceAccount, metadata: {name: robot}}").await;
        lab.apply(&secret("robot-token", "robot", "")).await;
        let filled = lab.wait("secrets", "t/robot-token", |s| s["data"]["token"].is_string()).await;
        let decoded = STANDARD.decode(filled["data"]["namespace"].as_str().unwrap()).unwrap();
        assert_eq!(decoded, b"t");
        let account = lab.the("serviceaccounts", "t/robot");
        assert_eq!(meta::annotation(&filled, UID), Some(meta::uid(&account)));
        // What a token loses it gets again.
        lab.patch("secrets", "t/robot-token", "", "{data: {ca.crt: null}}").await;
        lab.wait("secrets", "t/robot-token", |s| s["data"]["ca.crt"].is_string()).await;
        for (name, account, more) in [
            ("nobody", "nosuch", String::new()),
            ("former", "robot", format!("{UID}: 00000000-0000-0000-0000-000000000000")),
        ] {
            lab.apply(&secret(name, account, &more)).await;
            lab.gone("secrets", &format!("t/{name}")).await;
        }
        assert!(lab.get("secrets", "t/robot-token").is_some());
        lab.delete("serviceaccounts", "t/robot", None).await;
        lab.gone("secrets", "t/robot-token").await;
    }
}
