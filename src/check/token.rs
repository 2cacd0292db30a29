//! `token`: a ServiceAccount's token that the learner had issued, judged by the API that issued it and by what it claims.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::api::Api;
use super::subject::Subject;
use super::task_file::{self, Content};
use super::{Check, CheckCx, CheckError, Finding, Verdict};

/// Judges a token in a file of the task folder: as text, or as the TokenRequest that the API answered with.
///
/// The API reviews it, so one that was made up, changed or issued by somebody else fails. A token that has expired since
/// it was issued still counts: the API says so only of tokens whose signature is its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Token {
    /// The file, relative to the task folder.
    pub file: String,
    /// Whose token it must be, as `namespace/name`.
    pub service_account: String,
    /// For how many minutes it may be good, from its issue to its end.
    pub max_minutes: u32,
    /// What it must be good for, where not for the API server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
}

const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
/// What the API says of a token of its own whose time is over (`pkg/serviceaccount/claims.go`).
const EXPIRED: &str = "service account token has expired";

impl Check for Token {
    fn lint(&self, faults: &mut Vec<String>) {
        if let Err(fault) = task_file::lint(&self.file) {
            faults.push(format!("file: {fault}"));
        }
        self.subject().lint("serviceAccount", faults);
        // The API issues none for less (`ValidateTokenRequest`).
        if self.max_minutes < 10 {
            faults.push("maxMinutes: the API issues tokens for 10 minutes or more".to_owned());
        }
        if self.audiences.iter().any(String::is_empty) {
            faults.push("audiences: an empty one means nothing".to_owned());
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let wanted = self.subject().identity()?.user;
        let api = Api::new(cx.client.clone());
        // A missing file is no verdict either while the API is gone.
        api.alive().await?;
        let text = match task_file::read(cx.task_dir, &self.file, task_file::LARGEST).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let label = format!("file {}", self.file);
        let token = token_of(&text);
        let mut spec = json!({ "token": token });
        if !self.audiences.is_empty() {
            spec["audiences"] = json!(self.audiences);
        }
        let review = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec });
        let status = api.review(REVIEWS, &review).await?;
        let said = status["error"].as_str().unwrap_or_default();
        let taken = status["authenticated"] == true;
        let claims = claims_of(&token).filter(|_| taken || said.contains(EXPIRED));
        let Some(claims) = claims else {
            let actual = if said.is_empty() { "it takes no such token" } else { said };
            return Ok(Verdict::Fail(vec![Finding::new(label, "", "a token that the API takes", actual)]));
        };
        let mut findings = Vec::new();
        let user = if taken { &status["user"]["username"] } else { &claims["sub"] };
        if user != &json!(wanted) {
            let actual = user.as_str().unwrap_or("somebody else").to_owned();
            findings.push(Finding::new(label.clone(), "sub", wanted, actual));
        }
        let most = i64::from(self.max_minutes) * 60;
        let expected = format!("at most {} minutes after it was issued", self.max_minutes);
        match (claims["iat"].as_i64(), claims["exp"].as_i64()) {
            (Some(issued), Some(end)) if end - issued <= most => {}
            (Some(issued), Some(end)) => {
                let actual = format!("{} minutes after", (end - issued) / 60);
                findings.push(Finding::new(label, "exp", expected, actual));
            }
            _ => findings.push(Finding::new(label, "exp", expected, "never")),
        }
        Ok(Verdict::of(findings))
    }
}

impl Token {
    fn subject(&self) -> Subject {
        Subject { service_account: Some(self.service_account.clone()), ..Subject::default() }
    }
}

/// Takes the token out of a TokenRequest; any other text is taken for the token itself.
fn token_of(text: &str) -> String {
    let request: Option<Value> = serde_json::from_str(text).ok();
    let token = request.as_ref().and_then(|request| request["status"]["token"].as_str());
    token.unwrap_or(text).trim().to_owned()
}

/// Reads what a token claims (RFC 7519), without a look at its signature.
fn claims_of(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
