//! Raw types to valid ones: every rule that the syntax cannot hold, and every file that the scenario refers to.
//! What is merely unwise is `lint`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::blocks::points;
use super::code::Code;
use super::fault::Fault;
use super::files::{Files, SCENARIO_FILE, stays_inside};
use super::load::placed;
use super::raw::{
    At, Placed, RawAttack, RawCheck, RawExpectation, RawScenario, RawSeedStep, RawVars, RawWrong,
};
use super::render::Renderer;
use super::structure::parse_manifest;
use super::{
    Attack, CheckId, CheckItem, Expectation, GateCost, Points, Proofs, RightProof, Role, Scenario, SeedStep,
    Solution, Variant, WrongProof, lint,
};
use crate::cluster::Capability;
use crate::curriculum::{Curriculum, ResourceId, TopicId};
use crate::diag::{Diagnostic, Severity, closest};

/// The folders whose files attack, solution and proofs may use while they run.
pub(crate) const STEP_FOLDERS: [&str; 4] = ["attack", "solution", "right", "wrong"];

const DEADLINE: Duration = Duration::from_secs(60);
const READY_WITHIN: Duration = Duration::from_secs(120);

/// Turns one rendered scenario into its valid form.
pub(crate) struct Validation<'a> {
    files: &'a Files,
    folder: &'a Path,
    name: &'a str,
    source: &'a str,
    rendered: &'a str,
    renderer: Renderer,
    listing: BTreeSet<PathBuf>,
    referenced: BTreeSet<PathBuf>,
    found: Vec<Diagnostic>,
}

impl<'a> Validation<'a> {
    pub(crate) fn new(
        files: &'a Files,
        folder: &'a Path,
        name: &'a str,
        source: &'a str,
        rendered: &'a str,
        renderer: Renderer,
    ) -> Result<Self, Fault> {
        let listing = files.below(folder).map_err(|error| {
            Fault::new(Code::MissingFile, At::START, format!("the folder cannot be read: {error}"))
        })?;
        let referenced = BTreeSet::from([PathBuf::from(SCENARIO_FILE)]);
        let listing = listing.into_iter().collect();
        Ok(Self { files, folder, name, source, rendered, renderer, listing, referenced, found: Vec::new() })
    }

    /// Validates; the scenario is to be used only when no diagnostic is an error.
    pub(crate) fn run(
        mut self,
        raw: &RawScenario,
        vars: &RawVars,
        variant: Variant,
        thorough: bool,
    ) -> (Scenario, Vec<Diagnostic>) {
        self.identity(raw);
        self.text_there(raw.title.at, "the title", &raw.title);
        let task = self.prose(raw.task.at, "the task text", &raw.task);
        let seed: Vec<SeedStep> = raw.seed.iter().filter_map(|step| self.seed_step(step)).collect();
        let attack = raw.attack.as_ref().map(|attack| self.attack(attack));
        let checks = self.checks(raw);
        for hint in &raw.hints.0 {
            self.text_there(raw.hints.at, "a hint", hint);
        }
        let explain =
            self.prose(raw.solution.explain.at, "the explanation of the solution", &raw.solution.explain);
        self.text_there(raw.solution.run.at, "the solution", &raw.solution.run);
        let proofs = self.proofs(raw, &checks);
        self.needs(raw, &seed, &checks);
        let step_files = self.step_files();
        let scenario = Scenario {
            id: raw.id.value.as_str().into(),
            title: raw.title.value.clone(),
            topic: raw.topic.value.clone(),
            difficulty: raw.difficulty.value,
            minutes: raw.minutes.value,
            needs: raw.needs.iter().copied().collect(),
            variant,
            values: self.renderer.values().clone(),
            task,
            seed,
            attack,
            checks,
            hints: raw.hints.0.clone(),
            solution: Solution { explain, run: raw.solution.run.value.clone() },
            proofs,
            step_files,
        };
        if thorough {
            self.lint(raw, vars, &scenario);
        }
        (scenario, self.found)
    }

    fn lint(&mut self, raw: &RawScenario, vars: &RawVars, scenario: &Scenario) {
        let sound = self.found.iter().all(|found| found.severity != Severity::Error);
        for fault in lint::scenario(raw, vars, scenario, self.renderer.used()) {
            // A task text that could not be read names nothing.
            if sound || fault.code != Code::NameNotInTask {
                self.push(fault);
            }
        }
        if sound {
            let unreferenced = self.listing.difference(&self.referenced).cloned().collect();
            for file in lint::unreferenced(scenario, unreferenced) {
                let fault = Fault::new(Code::UnreferencedFile, At::START, "nothing refers to this file");
                self.found.push(fault.in_file(&self.folder.join(file)));
            }
        }
    }

    fn push(&mut self, fault: Fault) {
        let fault = placed(fault, self.source, self.rendered);
        self.found.push(fault.in_file(&self.folder.join(SCENARIO_FILE)));
    }

    fn fault(&mut self, code: Code, at: At, message: impl Into<String>) {
        self.push(Fault::new(code, at, message));
    }

    fn text_there(&mut self, at: At, what: &str, text: &str) {
        if text.trim().is_empty() && !self.found.iter().any(|found| found.code == Code::MissingFile.as_str())
        {
            self.fault(Code::EmptyText, at, format!("{what} is empty"));
        }
    }

    fn identity(&mut self, raw: &RawScenario) {
        let id = &raw.id;
        if !is_kebab(id) {
            let message =
                format!("`{}` is not kebab-case: lower case letters, digits and single `-`", id.value);
            self.fault(Code::BadId, id.at, message);
        } else if id.value != self.name {
            self.fault(
                Code::BadId,
                id.at,
                format!("the id `{}` is not the folder's name `{}`", id.value, self.name),
            );
        }
        let curriculum = Curriculum::builtin();
        let Some(place) = curriculum.places_in(&raw.topic, curriculum.newest()).first().copied() else {
            let known: Vec<&str> = curriculum.topic_ids().map(TopicId::as_str).collect();
            let fault =
                Fault::new(Code::UnknownTopic, raw.topic.at, format!("unknown topic `{}`", raw.topic.value));
            self.push(fault.suggest(closest(raw.topic.as_str(), known)));
            return;
        };
        // In a tree of `<domain>/<id>` the domain is known; a folder by itself may lie anywhere.
        let domain = self.folder.parent().and_then(Path::file_name).and_then(|name| name.to_str());
        if let Some(domain) = domain
            && domain != place.domain.id.as_str()
        {
            let message = format!("the topic `{}` belongs into `{}`", raw.topic.value, place.domain.id);
            self.fault(Code::WrongDomain, raw.topic.at, message);
        }
    }

    /// Reads and renders a text that is shown; empty when it cannot be had.
    fn prose(&mut self, at: At, what: &str, path: &str) -> String {
        let Some(text) = self.rendered_file(at, path) else { return String::new() };
        self.text_there(at, what, &text);
        text
    }

    /// Reads and renders a text file of the scenario's folder.
    fn rendered_file(&mut self, at: At, path: &str) -> Option<String> {
        let bytes = self.bytes(at, path)?;
        let rendered = self.render(path, bytes)?;
        let text = String::from_utf8(rendered).ok();
        if text.is_none() {
            self.fault(Code::WrongType, at, format!("`{path}` is not UTF-8"));
        }
        text
    }

    /// Reads a file and renders it unless it is taken verbatim.
    fn content(&mut self, at: At, path: &str, verbatim: bool) -> Vec<u8> {
        let Some(bytes) = self.bytes(at, path) else { return Vec::new() };
        if verbatim { bytes } else { self.render(path, bytes).unwrap_or_default() }
    }

    fn bytes(&mut self, at: At, path: &str) -> Option<Vec<u8>> {
        let relative = Path::new(path);
        if !stays_inside(relative) {
            self.fault(Code::BadPath, at, format!("`{path}` is not a path within the scenario's folder"));
            return None;
        }
        if !self.listing.contains(relative) {
            let known: Vec<&str> = self.listing.iter().filter_map(|file| file.to_str()).collect();
            let suggestion = closest(path, known).map(str::to_owned);
            let fault = Fault::new(Code::MissingFile, at, format!("there is no file `{path}`"));
            self.push(fault.suggest(suggestion.as_deref()));
            return None;
        }
        self.referenced.insert(relative.to_path_buf());
        match self.files.read(&self.folder.join(relative)) {
            Ok(bytes) => Some(bytes.into_owned()),
            Err(error) => {
                self.fault(Code::MissingFile, at, format!("`{path}` cannot be read: {error}"));
                None
            }
        }
    }

    /// Renders a text; what is no text stays as it is.
    fn render(&mut self, path: &str, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => return Some(error.into_bytes()),
        };
        match self.renderer.file(&text) {
            Ok(text) => Some(text.into_bytes()),
            Err(faults) => {
                let file = self.folder.join(path);
                self.found.extend(faults.into_iter().map(|fault| fault.in_file(&file)));
                None
            }
        }
    }

    fn seed_step(&mut self, step: &Placed<RawSeedStep>) -> Option<SeedStep> {
        let at = step.at;
        Some(match &step.value {
            RawSeedStep::Apply(path) => {
                let text = self.rendered_file(at, path)?;
                let objects = self.manifest(path, &text);
                SeedStep::Apply { file: path.into(), objects }
            }
            RawSeedStep::WaitReady(wait) => {
                self.text_there(at, "the namespace", &wait.namespace);
                let timeout =
                    wait.seconds.map_or(READY_WITHIN, |seconds| Duration::from_secs(seconds.into()));
                SeedStep::WaitReady { namespace: wait.namespace.clone(), timeout }
            }
            RawSeedStep::File(file) => {
                let to = PathBuf::from(&file.to);
                if !stays_inside(&to) {
                    self.fault(
                        Code::BadPath,
                        at,
                        format!("`{}` is not a path within the task folder", file.to),
                    );
                }
                let content = self.content(at, &file.from, file.verbatim);
                SeedStep::TaskFile { to, content, mode: self.mode(at, file.mode.as_deref())? }
            }
            RawSeedStep::NodeFile(file) => {
                let inside = Path::new(&file.to).strip_prefix("/").is_ok_and(stays_inside);
                if !inside {
                    self.fault(Code::BadPath, at, format!("`{}` is not an absolute path of a file", file.to));
                }
                self.text_there(at, "the node's name", &file.node);
                SeedStep::NodeFile {
                    node: file.node.clone(),
                    to: file.to.clone(),
                    content: self.content(at, &file.from, file.verbatim),
                    mode: self.mode(at, file.mode.as_deref())?,
                    owner: file.owner.clone().unwrap_or_else(|| "root:root".to_owned()),
                }
            }
            RawSeedStep::NodeRun(run) => {
                self.text_there(at, "the node's name", &run.node);
                self.text_there(at, "the script", &run.script);
                SeedStep::NodeRun { node: run.node.clone(), script: run.script.clone() }
            }
        })
    }

    fn mode(&mut self, at: At, text: Option<&str>) -> Option<u32> {
        let Some(text) = text else { return Some(0o644) };
        let digits = (3..=4).contains(&text.len()).then(|| u32::from_str_radix(text, 8).ok()).flatten();
        if digits.is_none() {
            self.push(
                Fault::new(Code::BadMode, at, format!("`{text}` is no permission bits"))
                    .help("write three or four octal digits in quotes, such as \"0600\""),
            );
        }
        digits
    }

    fn manifest(&mut self, path: &str, text: &str) -> Vec<Value> {
        let file = self.folder.join(path);
        let documents = match parse_manifest(text) {
            Ok(documents) => documents,
            Err(fault) => {
                self.found.push(Fault { code: Code::BadManifest, ..fault }.in_file(&file));
                return Vec::new();
            }
        };
        let mut objects = Vec::new();
        for document in documents {
            let at = At::from(document.referenced);
            let items = match document.value.get("items") {
                Some(Value::Array(items)) if document.value["kind"] == "List" => items.clone(),
                _ => vec![document.value],
            };
            for object in items {
                if let Some(message) = unfit(&object) {
                    self.found.push(Fault::new(Code::BadManifest, at, message).in_file(&file));
                } else {
                    objects.push(object);
                }
            }
        }
        if objects.is_empty() {
            let fault = Fault::new(Code::BadManifest, At::START, "there is no object in this manifest");
            self.found.push(fault.in_file(&file));
        }
        objects
    }

    fn attack(&mut self, attack: &Placed<RawAttack>) -> Attack {
        self.text_there(attack.at, "the attack's description", &attack.describe);
        self.text_there(attack.at, "the attack", &attack.run);
        let expectation = |raw: &RawExpectation| Expectation {
            exit: raw.exit,
            output: raw.output.iter().cloned().collect(),
            error: raw.error.iter().cloned().collect(),
        };
        Attack {
            describe: attack.describe.clone(),
            run: attack.run.clone(),
            before: expectation(&attack.before),
            after: expectation(&attack.after),
        }
    }

    fn checks(&mut self, raw: &RawScenario) -> Vec<CheckItem> {
        let mut items: Vec<CheckItem> = Vec::new();
        let default = default_reading(&raw.topic);
        for check in raw.checks.iter() {
            if items.iter().any(|item| item.id.as_str() == check.id.value) {
                self.fault(
                    Code::DuplicateCheck,
                    check.id.at,
                    format!("there is a check `{}` already", check.id.value),
                );
            }
            items.push(self.check(check, &default));
        }
        let total: Points = items.iter().map(CheckItem::points).sum();
        if total == Points::default() {
            self.fault(Code::NoPoints, raw.checks.at, "the checks earn nothing");
        } else if total != Points(points(self.source)) {
            let message = format!("listings read {} points, the checks earn {total}", points(self.source));
            self.push(
                Fault::new(Code::PointsNotPlain, raw.checks.at, message)
                    .help("write each `points: N` on a line of its own, without variables"),
            );
        }
        items
    }

    fn check(&mut self, check: &Placed<RawCheck>, default: &[ResourceId]) -> CheckItem {
        let at = check.id.at;
        if !is_kebab(&check.id) {
            self.fault(Code::BadId, at, format!("`{}` is not kebab-case", check.id.value));
        }
        self.text_there(check.at, "the description", &check.describe);
        for fault in check.assert.value.lint() {
            self.fault(Code::FaultyCheck, check.assert.at, format!("`{}`: {fault}", check.id.value));
        }
        let curriculum = Curriculum::builtin();
        for resource in &check.read {
            if curriculum.resource(resource).is_none() {
                let message = format!("unknown resource `{}`", resource.value);
                let known: Vec<&str> = curriculum.resource_ids().map(ResourceId::as_str).collect();
                let fault = Fault::new(Code::UnknownResource, resource.at, message);
                self.push(fault.suggest(closest(resource.as_str(), known)));
            }
        }
        let read = match check.read.is_empty() {
            true => default.to_vec(),
            false => check.read.iter().map(|resource| resource.value.clone()).collect(),
        };
        CheckItem {
            id: check.id.value.as_str().into(),
            role: self.role(check),
            describe: check.describe.clone(),
            why: check.why.clone(),
            read,
            assert: check.assert.value.clone(),
            deadline: check.seconds.map_or(DEADLINE, |seconds| Duration::from_secs(seconds.max(1).into())),
        }
    }

    fn role(&mut self, check: &RawCheck) -> Role {
        let id = &check.id.value;
        let at = check.points.as_ref().or(check.cost.as_ref()).map_or(check.id.at, |number| number.at);
        let fault = match (&check.points, check.gate, &check.cost) {
            (Some(points), false, None) if points.value > 0 => return Role::Scored(Points(points.value)),
            (None, true, None) => return Role::Gate(GateCost::Everything),
            (None, true, Some(cost)) if cost.value > 0 => {
                return Role::Gate(GateCost::Points(Points(cost.value)));
            }
            (None, false, None) => format!("`{id}` has neither `points` nor `gate: true`"),
            (Some(_), true, _) => format!("`{id}` is a gate and so cannot earn points"),
            (_, false, Some(_)) => format!("`{id}` has a cost but is no gate"),
            (Some(_), false, None) => format!("`{id}` earns 0 points"),
            (None, true, Some(_)) => format!("the gate `{id}` costs 0 points"),
        };
        self.fault(Code::BadPoints, at, fault);
        // What is meant is still clear enough to judge the proofs by.
        if check.gate { Role::Gate(GateCost::Everything) } else { Role::Scored(Points(0)) }
    }

    fn proofs(&mut self, raw: &RawScenario, checks: &[CheckItem]) -> Proofs {
        let proofs = &raw.proofs.value;
        for proof in &proofs.right {
            self.text_there(proof.at, "the description", &proof.describe);
            self.text_there(proof.at, "the fix", &proof.run);
        }
        for proof in &proofs.wrong {
            self.text_there(proof.at, "the description", &proof.describe);
            self.text_there(proof.at, "the fix", &proof.run);
        }
        Proofs {
            right: proofs
                .right
                .iter()
                .map(|proof| RightProof { describe: proof.describe.clone(), run: proof.run.clone() })
                .collect(),
            wrong: proofs.wrong.iter().map(|proof| self.wrong(proof, checks)).collect(),
        }
    }

    fn wrong(&mut self, proof: &RawWrong, checks: &[CheckItem]) -> WrongProof {
        let mut named = |ids: &[Placed<String>], gates: bool| -> BTreeSet<CheckId> {
            for id in ids {
                let of_kind = checks.iter().filter(|check| check.is_gate() == gates);
                let known: Vec<&str> = of_kind.map(|check| check.id.as_str()).collect();
                if known.contains(&id.value.as_str()) {
                    continue;
                }
                let message = match (checks.iter().any(|check| check.id.as_str() == id.value), gates) {
                    (false, _) => format!("there is no check `{}`", id.value),
                    (true, true) => format!("`{}` is no gate and so cannot be broken", id.value),
                    (true, false) => format!("`{}` is a gate and so earns nothing", id.value),
                };
                let fault = Fault::new(Code::UnknownCheck, id.at, message);
                self.push(fault.suggest(closest(&id.value, known)));
            }
            ids.iter().map(|id| id.value.as_str().into()).collect()
        };
        let earns = named(&proof.earns, false);
        let breaks = named(&proof.breaks, true);
        WrongProof { describe: proof.describe.clone(), run: proof.run.clone(), earns, breaks }
    }

    fn needs(&mut self, raw: &RawScenario, seed: &[SeedStep], checks: &[CheckItem]) {
        let mut needed: BTreeMap<Capability, String> = BTreeMap::new();
        if let Some(outside) = outside_namespaces(seed) {
            needed.insert(Capability::ClusterScope, format!("the seed applies {outside}"));
        }
        for step in seed {
            let (capability, what) = match step {
                SeedStep::Apply { .. } => (Capability::Api, "the seed applies objects"),
                SeedStep::WaitReady { .. } => (Capability::Pods, "the seed waits for Pods"),
                SeedStep::NodeFile { .. } | SeedStep::NodeRun { .. } => {
                    (Capability::Nodes, "the seed changes a node")
                }
                SeedStep::TaskFile { .. } => continue,
            };
            needed.entry(capability).or_insert_with(|| what.to_owned());
        }
        for check in checks {
            for capability in check.assert.needs() {
                needed.entry(*capability).or_insert_with(|| format!("the check `{}` needs it", check.id));
            }
        }
        for (capability, what) in needed {
            if !raw.needs.contains(&capability) {
                let name = serde_json::to_value(capability).ok();
                let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
                self.fault(Code::MissingNeeds, raw.needs.at, format!("`{name}` is missing: {what}"));
            }
        }
    }

    fn step_files(&mut self) -> BTreeMap<PathBuf, Vec<u8>> {
        let files: Vec<PathBuf> = self
            .listing
            .iter()
            .filter(|file| STEP_FOLDERS.iter().any(|folder| file.starts_with(folder)))
            .cloned()
            .collect();
        let mut rendered = BTreeMap::new();
        for file in files {
            let path = file.to_string_lossy().into_owned();
            // Reading again what the listing has just shown fails only when somebody else changes the folder.
            if let Ok(bytes) = self.files.read(&self.folder.join(&file))
                && let Some(content) = self.render(&path, bytes.into_owned())
            {
                rendered.insert(file, content);
            }
        }
        rendered
    }
}

/// Finds an object that lies in no namespace of the seed's own: it cannot be lent by a cluster that others use too.
fn outside_namespaces(seed: &[SeedStep]) -> Option<String> {
    let objects = || {
        seed.iter().flat_map(|step| match step {
            SeedStep::Apply { objects, .. } => objects.as_slice(),
            _ => &[],
        })
    };
    let text = |object: &Value, path: &str| -> String {
        object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let is_namespace = |object: &&Value| object["kind"] == "Namespace";
    let own: BTreeSet<String> =
        objects().filter(is_namespace).map(|object| text(object, "/metadata/name")).collect();
    objects()
        .filter(|object| !is_namespace(object))
        .find(|object| !own.contains(&text(object, "/metadata/namespace")))
        .map(|object| format!("{} {}", text(object, "/kind"), text(object, "/metadata/name")))
}

/// Says why an object of a manifest cannot be applied.
fn unfit(object: &Value) -> Option<String> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    if !object.is_object() {
        return Some("a document is no object".to_owned());
    }
    for key in ["apiVersion", "kind"] {
        if text(&format!("/{key}")).is_empty() {
            return Some(format!("an object has no `{key}`"));
        }
    }
    let named = !text("/metadata/name").is_empty();
    (!named).then(|| format!("a {} has no `metadata.name`", text("/kind")))
}

/// The pages of the topic itself, in the newest track that has it.
fn default_reading(topic: &TopicId) -> Vec<ResourceId> {
    let tracks = Curriculum::builtin().tracks().iter().rev();
    let own = tracks.filter_map(|track| track.topic(topic)).map(|(_, topic)| topic).next();
    own.into_iter().flat_map(|topic| &topic.resources).map(|resource| resource.id.clone()).collect()
}

fn is_kebab(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 60
        && text.split('-').all(|part| {
            !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
        })
        && text.starts_with(|c: char| c.is_ascii_lowercase())
}
