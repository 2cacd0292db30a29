//! `dockerfile`: what image a Dockerfile builds: its user, its bases, what lies in its layers, and what it starts. Parsed
//! and followed through stages, arguments and variables; nothing is built.

mod build;
mod image_ref;
mod judge;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::api::Api;
use super::document::{Malformed, Source};
use super::task_file::{self, Content};
use super::{Check, CheckCx, CheckError, Verdict};
use crate::cluster::Capability;

/// Judges a Dockerfile by the image that it builds. At least one expectation is given.
///
/// Expectations about layers hold for all stages that the last one is made from by `FROM`, those about secrets, remote
/// sources and bases for every stage. Variables are followed with the defaults of `ARG`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Dockerfile {
    /// Where the Dockerfile lies.
    pub source: Source,
    /// Whom the image must run as; the last `USER` of the last stage counts, or what it inherits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_user: Option<FinalUser>,
    /// What images run as that set no user in this file, by image: `gcr.io/distroless/*:nonroot`. Root without.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub image_users: BTreeMap<String, String>,
    /// How every image from outside must be pinned, in `FROM`, `COPY --from` and `RUN --mount`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bases: Option<Pinned>,
    /// Tags beside `latest` that pin nothing, such as `stable`; `*` stands for any characters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub floating_tags: Vec<String>,
    /// What the last stage may stand on in the end: repositories, or images with tag; `*` stands for any characters.
    /// `scratch` is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub final_base: Vec<String>,
    /// The last stage must take what it needs from an earlier one, and not stand on it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub multi_stage: bool,
    /// Texts that must be nowhere in the file, in no encoding and not put together of variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_secrets: Vec<String>,
    /// Variables that no stage may have as `ARG` or `ENV`, since the image's history tells them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_variables: Vec<String>,
    /// Files of the build context that no stage may copy; `RUN --mount=type=secret` is no copy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_files: Vec<String>,
    /// Where `.dockerignore` lies; what it leaves out cannot be copied. A missing one leaves out nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<Source>,
    /// Whether `ADD` may fetch from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_add: Option<RemoteAdd>,
    /// Packages that no layer of the image may install.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_packages: Vec<String>,
    /// Packages that a layer of the image must install.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// Each layer of the image that installs packages must leave no package lists or caches behind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub clean_caches: bool,
    /// `ENTRYPOINT` and `CMD` must be in exec form, so that no shell stands before the process.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exec_form: bool,
    /// What the image must still be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<Keeps>,
}

/// Whom an image must run as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FinalUser {
    /// The user must be a number, so that Kubernetes can tell that it is not root.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub numeric: bool,
    /// Exactly this user, without group; any but root when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is: Option<String>,
}

/// How an image must be pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Pinned {
    /// By a tag that is not floating, or by digest.
    Tag,
    /// By digest.
    Digest,
}

/// Whether `ADD` may fetch from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RemoteAdd {
    /// It may not.
    Never,
    /// With a `--checksum` only.
    Checksummed,
}

/// What an image must still be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Keeps {
    /// Exactly the exposed ports, as `8080` or `53/udp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expose: Option<Vec<String>>,
    /// The entry point's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The words of `CMD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// What starts in the end, `ENTRYPOINT` and `CMD` together, where it does not matter which of them says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workdir: Option<String>,
    /// Variables of the image with their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Paths in the image that a `COPY` or `ADD` of the last stages must put there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Check for Dockerfile {
    fn needs(&self) -> &'static [Capability] {
        self.source.needs()
    }

    fn lint(&self, faults: &mut Vec<String>) {
        self.source.lint("source", faults);
        let unasked = Self { source: self.source.clone(), ..Self::default() };
        let conditions = Self {
            source: self.source.clone(),
            image_users: self.image_users.clone(),
            floating_tags: self.floating_tags.clone(),
            ignore: self.ignore.clone(),
            ..Self::default()
        };
        if *self == unasked || *self == conditions {
            faults.push("dockerfile: without an expectation it cannot fail".to_owned());
        }
        if let Some(user) = &self.final_user {
            let name = user.is.as_deref().unwrap_or("1");
            if name.is_empty() || judge::is_root(name) || name.contains(':') {
                faults.push("finalUser.is: a user that is not root, without group".to_owned());
            }
            if user.numeric && name.parse::<u32>().is_err() {
                faults.push("finalUser.is: it is no number".to_owned());
            }
        }
        if !self.image_users.is_empty() && self.final_user.is_none() {
            faults.push("imageUsers: it goes with finalUser".to_owned());
        }
        if !self.floating_tags.is_empty() && self.bases != Some(Pinned::Tag) {
            faults.push("floatingTags: it goes with bases: tag".to_owned());
        }
        let lists = [
            ("finalBase", &self.final_base),
            ("noSecrets", &self.no_secrets),
            ("noVariables", &self.no_variables),
            ("noFiles", &self.no_files),
            ("noPackages", &self.no_packages),
            ("packages", &self.packages),
        ];
        for (field, list) in lists {
            if list.iter().any(|item| item.trim().is_empty()) {
                faults.push(format!("{field}: an empty text says nothing"));
            }
        }
        if self.no_secrets.iter().any(|secret| secret.len() < 6) {
            faults.push("noSecrets: so short a text may be anywhere".to_owned());
        }
        if self.no_files.iter().any(|file| task_file::lint(file).is_err()) {
            faults.push("noFiles: paths within the build context".to_owned());
        }
        if let Some(ignore) = &self.ignore {
            ignore.lint("ignore", faults);
            if self.no_files.is_empty() {
                faults.push("ignore: it goes with noFiles".to_owned());
            }
        }
        if let Some(keeps) = &self.keeps {
            if *keeps == Keeps::default() {
                faults.push("keeps: say what".to_owned());
            }
            if keeps.command.is_some() && (keeps.entrypoint.is_some() || keeps.cmd.is_some()) {
                faults.push("keeps.command: it stands for entrypoint and cmd".to_owned());
            }
            if keeps.paths.iter().any(|path| !path.starts_with('/')) {
                faults.push("keeps.paths: paths in the image start with /".to_owned());
            }
        }
    }

    async fn run(&self, cx: &CheckCx<'_>) -> Result<Verdict, CheckError> {
        let api = Api::new(cx.client.clone());
        let text = match self.source.read(&api, cx).await? {
            Content::Text(text) => text,
            Content::Unusable(finding) => return Ok(Verdict::Fail(vec![finding])),
        };
        let ignore = match &self.ignore {
            Some(source) => match source.read(&api, cx).await? {
                Content::Text(text) => text,
                Content::Unusable(_) => String::new(),
            },
            None => String::new(),
        };
        let label = self.source.label();
        let parsed = match parse_dockerfile::parse(&text) {
            Ok(parsed) => parsed,
            Err(error) => {
                let at = (error.line() > 0).then(|| (error.line() as u64, error.column() as u64));
                let fault = Malformed { at, message: format!("{error:#}") };
                return Ok(Verdict::Fail(vec![fault.finding(&label, "a Dockerfile")]));
            }
        };
        let build = build::Build::of(&parsed, &text);
        Ok(Verdict::of(judge::Judge { spec: self, build: &build, text: &text, label, ignore: &ignore }.all()))
    }
}
