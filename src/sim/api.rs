//! The Kubernetes API of a simulated cluster: what is served where, and in which form it is answered.

mod answer;
mod call;
pub(crate) mod conversion;
pub(crate) mod convert;
mod decode;
mod definitions;
pub mod discovery;
mod fields;
mod generation;
mod impersonation;
mod inside;
mod list;
pub mod openapi;
mod patch;
mod paths;
pub mod protobuf;
mod request;
pub mod resources;
mod rest;
mod serve;
mod shape;
mod steps;
mod subresources;
pub mod table;
mod verbs;
mod watch;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

pub use self::answer::{Body, BodyError};
pub(crate) use self::decode::{parse_yaml, shape};
pub use self::generation::Settings;
pub use self::paths::VERSION;
pub(crate) use self::request::RequestInfo;
pub(crate) use self::rest::timestamp;
pub use self::serve::Identity;
pub use self::subresources::connect::{Connection, Connector};

use self::definitions::Compiled;
use self::generation::Generation;
use self::resources::{Resource, Resources};
use super::admission::Chain;
use super::attributes::UserInfo;
use super::audit::Audit;
use super::authn::{AUDIENCE, Authenticator, PeerCertificates, jwt};
use super::authz::{Authorizer, Mode};
use super::client::Client;
use super::crd::CustomVersion;
use super::pki::Pki;
use super::resource::GroupResource;
use super::status::Status;
use super::store::Store;
use crate::clock::Clock;

/// On which day the token of a Secret was last used.
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";

/// The API of one cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    pki: Arc<Pki>,
    resources: RwLock<Arc<Resources>>,
    generation: RwLock<Arc<Generation>>,
    up: tokio::sync::watch::Sender<bool>,
    address: RwLock<String>,
    compiled: Compiled,
    definitions: Mutex<()>,
    allocating: tokio::sync::Mutex<()>,
    connector: RwLock<Option<Arc<dyn Connector>>>,
    audit: RwLock<Option<Arc<Audit>>>,
}

/// What an API server is made of, beside its store.
#[derive(Debug)]
pub struct Parts {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What is served beside what definitions add.
    pub resources: Resources,
    /// The authorization modes, in their order.
    pub modes: Vec<Mode>,
    /// The admission plugins.
    pub admission: Chain,
    /// Who is who.
    pub authenticator: Authenticator,
}

impl Api {
    /// Serves the objects of `store`.
    pub fn new(store: Store, parts: Parts) -> Self {
        let pki = parts.authenticator.pki().clone();
        let settings = Settings {
            resources: parts.resources,
            modes: parts.modes,
            admission: parts.admission,
            authenticator: parts.authenticator,
            profiling: true,
        };
        let generation = Generation::new(settings, &store);
        Self(Arc::new(Inner {
            store,
            clock: parts.clock,
            pki,
            resources: RwLock::new(Arc::new(generation.base.clone())),
            generation: RwLock::new(Arc::new(generation)),
            up: tokio::sync::watch::Sender::new(true),
            address: RwLock::new("127.0.0.1:6443".to_owned()),
            compiled: Compiled::default(),
            definitions: Mutex::new(()),
            allocating: tokio::sync::Mutex::new(()),
            connector: RwLock::default(),
            audit: RwLock::default(),
        }))
    }

    /// Returns an API with an empty store in memory, for tests: everything is allowed, nothing is admitted specially.
    ///
    /// # Panics
    /// When no keys can be made, which a system with a generator of randomness does not know.
    #[expect(clippy::unwrap_used, reason = "for tests")]
    pub fn in_memory(clock: Arc<dyn Clock>) -> Self {
        let pki = Arc::new(Pki::generate(&[], clock.now()).unwrap());
        let authenticator = Authenticator::new(pki, clock.clone(), true).unwrap();
        Self::new(
            Store::in_memory(),
            Parts {
                clock,
                resources: Resources::builtin(),
                modes: vec![Mode::AlwaysAllow],
                admission: Chain::default(),
                authenticator,
            },
        )
    }

    /// Returns a client that acts as `user`.
    pub fn client(&self, user: UserInfo) -> Client {
        Client::new(self.clone(), user)
    }

    /// Returns an HTTP service whose every request is of `user`, for clients in this process.
    pub fn service(&self, user: UserInfo) -> Service {
        Service { api: self.clone(), user: Some(user) }
    }

    /// Returns the objects.
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Returns the cluster's clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Returns who decides what is allowed.
    pub fn authorizer(&self) -> Arc<Authorizer> {
        self.generation().authorizer.clone()
    }

    /// Returns the admission plugins.
    pub fn admission(&self) -> Arc<Chain> {
        self.generation().admission.clone()
    }

    /// Returns who knows users by their credentials, and signs tokens.
    pub fn authenticator(&self) -> Arc<Authenticator> {
        self.generation().authenticator.clone()
    }

    /// Returns the cluster's keys.
    pub fn pki(&self) -> &Arc<Pki> {
        &self.0.pki
    }

    /// Returns what is served at the moment.
    pub fn resources(&self) -> Arc<Resources> {
        self.0.resources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns what a custom resource asks of its objects; nothing for a built-in one.
    pub(crate) fn custom(&self, resource: &Resource) -> Option<Arc<CustomVersion>> {
        self.0.compiled.of(resource)
    }

    /// Serves other resources from now on.
    fn set_resources(&self, resources: Resources) {
        *self.0.resources.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(resources);
    }

    /// Lets the nodes answer connections into Pods.
    pub fn set_connector(&self, connector: Arc<dyn Connector>) {
        *self.0.connector.write().unwrap_or_else(PoisonError::into_inner) = Some(connector);
    }

    /// Audits requests from now on; nothing ends it.
    pub fn set_audit(&self, audit: Option<Arc<Audit>>) {
        *self.0.audit.write().unwrap_or_else(PoisonError::into_inner) = audit;
    }

    fn audit(&self) -> Option<Arc<Audit>> {
        self.0.audit.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connector(&self) -> Option<Arc<dyn Connector>> {
        self.0.connector.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the address that clients reach the server by, such as `127.0.0.1:40123`.
    pub fn address(&self) -> String {
        self.0.address.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says by which address clients reach the server.
    pub fn set_address(&self, address: String) {
        *self.0.address.write().unwrap_or_else(PoisonError::into_inner) = address;
    }

    fn authenticate(&self, parts: &http::request::Parts) -> Result<UserInfo, Status> {
        if let Some(Identity(user)) = parts.extensions.get::<Identity>() {
            return Ok(user.clone());
        }
        let peer = parts.extensions.get::<PeerCertificates>();
        let user = self.authenticator().authenticate(self.store(), peer, &parts.headers, parts.uri.path())?;
        if let Some((namespace, name)) = Authenticator::secret_of(&parts.headers)
            && user.username.starts_with("system:serviceaccount:")
        {
            self.note_use(&namespace, &name);
        }
        Ok(user)
    }

    /// Labels a Secret with the day on which its token was last used.
    fn note_use(&self, namespace: &str, name: &str) {
        const SECRETS: GroupResource = GroupResource::of("", "secrets");
        let today = self.clock().now().strftime("%Y-%m-%d").to_string();
        let Some(entry) = self.store().get(&SECRETS, namespace, name) else { return };
        if entry.object["metadata"]["labels"][LAST_USED] == today.as_str() {
            return;
        }
        let mut noted = Value::clone(&entry.object);
        noted["metadata"]["labels"][LAST_USED] = today.into();
        // Who writes the Secret at this very moment is not to be disturbed; the next request notes it.
        let _ = self.store().update(&SECRETS, namespace, name, Some(entry.revision), noted);
    }

    fn openid_configuration(&self) -> Value {
        json!({ "issuer": AUDIENCE, "jwks_uri": format!("https://{}/openid/v1/jwks", self.address()),
            "response_types_supported": ["id_token"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"] })
    }

    fn jwks(&self) -> Value {
        json!({ "keys": [jwt::public_jwk(self.pki().token_key())] })
    }
}

/// The API as a `tower::Service`.
#[derive(Debug, Clone)]
pub struct Service {
    api: Api,
    user: Option<UserInfo>,
}

impl<B> tower::Service<Request<B>> for Service
where
    B: hyper::body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BodyError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let api = self.api.clone();
        if let Some(user) = &self.user {
            request.extensions_mut().insert(Identity(user.clone()));
        }
        Box::pin(async move { Ok(api.handle(request).await) })
    }
}
