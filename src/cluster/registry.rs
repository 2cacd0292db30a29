//! Which providers there are, in the order in which they are tried. The only file that names the adapters: a new
//! provider is one file and one line here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::kind::KindProvider;
use super::kubeconfig::KubeconfigProvider;
use super::sim::SimProvider;
use super::{Availability, Capability, Provider};

/// What the adapters are told about the machine.
#[derive(Debug, Clone)]
pub struct Places {
    /// The folder under which everything is kept.
    pub state: PathBuf,
    /// This program, to be run in the background.
    pub program: PathBuf,
    /// Where programs are looked for.
    pub path: OsString,
}

/// The providers, in the order in which `auto` tries them.
#[derive(Clone)]
pub struct Registry {
    providers: Vec<Entry>,
}

#[derive(Clone)]
struct Entry {
    provider: Arc<dyn Provider>,
    /// Whether `auto` may take it.
    auto: bool,
}

/// Returns what `--provider` takes.
pub fn choices() -> Vec<&'static str> {
    let nowhere = Places { state: PathBuf::new(), program: PathBuf::new(), path: OsString::new() };
    std::iter::once("auto").chain(Registry::standard(&nowhere).names()).collect()
}

/// Which provider is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The first that has what is needed and can be used here.
    Auto,
    /// This one.
    Named(String),
}

impl Choice {
    /// Reads what `--provider` takes.
    pub fn parse(text: &str) -> Self {
        match text {
            "auto" => Self::Auto,
            name => Self::Named(name.to_owned()),
        }
    }
}

/// Why a provider cannot serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// Its clusters do not have it.
    Lacks(Capability),
    /// It cannot be used on this machine now.
    Missing {
        /// What is missing.
        reason: String,
        /// What to do about it.
        hint: String,
    },
}

/// Why no provider was chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// There is no such provider.
    #[error("there is no provider `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: Vec<&'static str>,
    },
    /// The one that was named cannot serve.
    #[error("provider `{name}` cannot be used: {}", reason(.unfit))]
    Unfit {
        /// Which.
        name: &'static str,
        /// Why.
        unfit: Unfit,
    },
    /// None can serve.
    #[error("no provider can be used: {}", reasons(.0))]
    NoneFits(Vec<(&'static str, Unfit)>),
}

fn reason(unfit: &Unfit) -> String {
    match unfit {
        Unfit::Lacks(capability) => format!("it has no {}", capability.words()),
        Unfit::Missing { reason, .. } => reason.clone(),
    }
}

fn reasons(all: &[(&'static str, Unfit)]) -> String {
    let each = all.iter().map(|(name, unfit)| format!("`{name}`: {}", reason(unfit)));
    each.collect::<Vec<_>>().join("; ")
}

impl Registry {
    /// Holds all providers that there are.
    pub fn standard(places: &Places) -> Self {
        let sim = SimProvider::new(places.state.join("sim"), places.program.clone(), places.path.clone());
        Self::of([
            (Arc::new(sim) as Arc<dyn Provider>, true),
            (Arc::new(KindProvider::new(places.state.join("clusters"))), true),
            (Arc::new(KubeconfigProvider), false),
        ])
    }

    /// Holds the given providers; `auto` marks those that may be taken without being named.
    pub fn of(providers: impl IntoIterator<Item = (Arc<dyn Provider>, bool)>) -> Self {
        let providers = providers.into_iter().map(|(provider, auto)| Entry { provider, auto }).collect();
        Self { providers }
    }

    /// Returns the names that `--provider` takes, beside `auto`.
    pub fn names(&self) -> Vec<&'static str> {
        self.providers.iter().map(|entry| entry.provider.name()).collect()
    }

    /// Iterates over the providers in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Provider>> {
        self.providers.iter().map(|entry| &entry.provider)
    }

    /// Finds a provider.
    ///
    /// # Errors
    /// [`ChoiceError::Unknown`].
    pub fn get(&self, name: &str) -> Result<Arc<dyn Provider>, ChoiceError> {
        let found = self.iter().find(|provider| provider.name() == name);
        found.cloned().ok_or_else(|| ChoiceError::Unknown { name: name.to_owned(), known: self.names() })
    }

    /// Returns the names of those whose clusters have what is needed, whether or not they can be used here.
    pub fn able(&self, needs: &[Capability]) -> Vec<&'static str> {
        let able = self.iter().filter(|provider| provider.capabilities().missing(needs).is_none());
        able.map(|provider| provider.name()).collect()
    }

    /// Chooses a provider that has what is needed and can be used here.
    ///
    /// # Errors
    /// [`ChoiceError`] with the reason of each that cannot.
    pub async fn choose(
        &self,
        choice: &Choice,
        needs: &[Capability],
    ) -> Result<Arc<dyn Provider>, ChoiceError> {
        if let Choice::Named(name) = choice {
            let provider = self.get(name)?;
            return match unfit(provider.as_ref(), needs).await {
                None => Ok(provider),
                Some(unfit) => Err(ChoiceError::Unfit { name: provider.name(), unfit }),
            };
        }
        let mut refused = Vec::new();
        for entry in self.providers.iter().filter(|entry| entry.auto) {
            match unfit(entry.provider.as_ref(), needs).await {
                None => return Ok(entry.provider.clone()),
                Some(unfit) => refused.push((entry.provider.name(), unfit)),
            }
        }
        Err(ChoiceError::NoneFits(refused))
    }
}

async fn unfit(provider: &dyn Provider, needs: &[Capability]) -> Option<Unfit> {
    if let Some(missing) = provider.capabilities().missing(needs) {
        return Some(Unfit::Lacks(missing));
    }
    match provider.probe().await {
        Availability::Ready => None,
        Availability::Missing { reason, hint } => Some(Unfit::Missing { reason, hint }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::FakeProvider;

    fn registry() -> Registry {
        let sim = FakeProvider::new("sim").with(&[Capability::Api]);
        let kind = FakeProvider::new("kind").with(&[Capability::Api, Capability::Nodes]);
        let own = FakeProvider::new("own").with(&[Capability::Api, Capability::Nodes, Capability::Gvisor]);
        Registry::of([
            (Arc::new(sim) as Arc<dyn Provider>, true),
            (Arc::new(kind), true),
            (Arc::new(own), false),
        ])
    }

    async fn chosen(choice: &str, needs: &[Capability]) -> Result<&'static str, ChoiceError> {
        registry().choose(&Choice::parse(choice), needs).await.map(|provider| provider.name())
    }

    #[tokio::test]
    async fn auto_takes_the_first_that_proves_all() {
        assert_eq!(chosen("auto", &[Capability::Api]).await, Ok("sim"));
        assert_eq!(chosen("auto", &[Capability::Api, Capability::Nodes]).await, Ok("kind"));
    }

    #[tokio::test]
    async fn auto_never_takes_somebodys_own_cluster() {
        let error = chosen("auto", &[Capability::Gvisor]).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "no provider can be used: `sim`: it has no sandboxed runtime; `kind`: it has no sandboxed runtime"
        );
        assert_eq!(chosen("own", &[Capability::Gvisor]).await, Ok("own"));
    }

    #[tokio::test]
    async fn auto_passes_over_what_cannot_be_used_here() {
        let sim = FakeProvider::new("sim").with(&[Capability::Api]).missing("no port is free");
        let kind = FakeProvider::new("kind").with(&[Capability::Api]);
        let registry =
            Registry::of([(Arc::new(sim) as Arc<dyn Provider>, true), (Arc::new(kind) as _, true)]);
        let chosen = registry.choose(&Choice::Auto, &[Capability::Api]).await.unwrap();
        assert_eq!(chosen.name(), "kind");
        let error = registry.choose(&Choice::parse("sim"), &[Capability::Api]).await.err().unwrap();
        assert_eq!(error.to_string(), "provider `sim` cannot be used: no port is free");
    }

    #[tokio::test]
    async fn a_named_provider_is_not_replaced() {
        let error = chosen("sim", &[Capability::Nodes]).await.unwrap_err();
        assert!(matches!(error, ChoiceError::Unfit { unfit: Unfit::Lacks(Capability::Nodes), .. }));
        let error = chosen("minikube", &[]).await.unwrap_err();
        assert!(matches!(error, ChoiceError::Unknown { known, .. } if known == ["sim", "kind", "own"]));
    }

    #[test]
    fn who_is_able_is_known_without_looking_at_the_machine() {
        assert_eq!(registry().able(&[Capability::Nodes]), ["kind", "own"]);
    }
}
