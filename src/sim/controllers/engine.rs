//! What runs a controller: one dispatcher for all of them that turns changes into keys, and for each a task that works
//! keys off. Knows no kind.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Settings;
use super::queue::{Key, Queue};
use crate::clock::Clock;
use crate::sim::alive::Gates;
use crate::sim::attributes::UserInfo;
use crate::sim::client::Client;
use crate::sim::events::{EventSink, Recorder};
use crate::sim::flags::Program;
use crate::sim::meta;
use crate::sim::resource::GroupResource;
use crate::sim::status::Status;
use crate::sim::store::{Change, Store};

/// What a controller is given to work with.
#[derive(Debug, Clone)]
pub(crate) struct Cx {
    /// Writes, as the controller's own user.
    pub client: Client,
    /// Records events under the controller's name.
    pub recorder: Recorder,
    /// The timings.
    pub settings: Arc<Settings>,
}

impl Cx {
    /// Returns the objects, always current.
    pub(crate) fn store(&self) -> &Store {
        self.client.store()
    }

    /// Returns the clock.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &**self.client.clock()
    }

    /// Returns an object.
    pub(crate) fn get(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.store().get(resource, namespace, name).map(|entry| entry.object.clone())
    }

    /// Returns the objects of a namespace, or of all.
    pub(crate) fn list(&self, resource: &GroupResource, namespace: Option<&str>) -> Vec<Arc<Value>> {
        self.store().list(resource, namespace).iter().map(|entry| entry.object.clone()).collect()
    }

    /// Returns how long it is until `moment`; nothing when it has come.
    pub(crate) fn until(&self, moment: jiff::Timestamp) -> Option<Duration> {
        let left = moment.duration_since(self.clock().now());
        if left.is_positive() { Some(left.unsigned_abs()) } else { None }
    }
}

/// A change as controllers see it; at the start each object there is comes as added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Notice<'a> {
    /// Whose object it is.
    pub resource: &'a GroupResource,
    /// What happened.
    pub change: Change,
    /// The object, or as it last was.
    pub object: &'a Arc<Value>,
    /// The object before.
    pub previous: Option<&'a Value>,
}

impl Notice<'_> {
    /// Tells whether it is about `resource`.
    pub(crate) fn is(&self, resource: &GroupResource) -> bool {
        self.resource == resource
    }

    /// Tells whether the object is gone.
    pub(crate) fn is_gone(&self) -> bool {
        self.change == Change::Deleted
    }

    /// Returns the key of the object itself.
    pub(crate) fn key(&self) -> Key {
        Key::new(meta::namespace(self.object), meta::name(self.object))
    }

    /// Tells whether a part of the object is another than before.
    pub(crate) fn changed(&self, pointer: &str) -> bool {
        self.previous.is_none_or(|previous| previous.pointer(pointer) != self.object.pointer(pointer))
    }
}

/// What comes after a key was worked off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing until something changes.
    Done,
    /// Work on it again after this time.
    After(Duration),
}

impl Next {
    /// Picks the earlier one.
    pub(crate) fn or_after(self, delay: Option<Duration>) -> Self {
        match (self, delay) {
            (Self::After(a), Some(b)) => Self::After(a.min(b)),
            (Self::Done, Some(b)) => Self::After(b),
            (earlier, None) => earlier,
        }
    }
}

/// A control loop.
#[async_trait]
pub(crate) trait Controller: Send + Sync + 'static {
    /// Returns the name of its service account in kube-system, which is also the source of its events.
    fn name(&self) -> &'static str;

    /// Returns who it acts as.
    fn user(&self) -> UserInfo {
        system_user(self.name())
    }

    /// Returns the source of its events.
    fn component(&self) -> &'static str {
        self.name()
    }

    /// Returns the host that its events come from; empty for all but kubelets.
    fn host(&self) -> String {
        String::new()
    }

    /// Returns the program that it is part of: while that does not run, neither does it.
    fn program(&self) -> Program {
        Program::ControllerManager
    }

    /// Queues what is to be done although nothing has changed.
    fn begin(&self, _queue: &Queue) {}

    /// Returns the resources it follows; none for all there are.
    fn follows(&self) -> Vec<GroupResource>;

    /// Turns a change into keys to work on.
    fn notice(&self, cx: &Cx, notice: &Notice<'_>, queue: &Queue);

    /// Brings what the key names to what it should be.
    async fn sync(&self, cx: &Cx, key: &Key) -> Result<Next, Status>;
}

/// Returns the user of a controller: its service account in kube-system.
pub(crate) fn system_user(name: &str) -> UserInfo {
    UserInfo::named(
        &format!("system:serviceaccount:kube-system:{name}"),
        &["system:serviceaccounts", "system:serviceaccounts:kube-system"],
    )
}

struct Loop {
    controller: Arc<dyn Controller>,
    cx: Cx,
    queue: Arc<Queue>,
}

/// Starts the loops and the dispatcher that feeds them.
pub(crate) fn start(
    controllers: Vec<Arc<dyn Controller>>,
    client: &Client,
    sink: &EventSink,
    settings: &Arc<Settings>,
    gates: &Gates,
    tasks: &mut JoinSet<()>,
) {
    let mut loops = Vec::new();
    let (listed, ready) = watch::channel(false);
    for controller in controllers {
        let cx = Cx {
            client: client.with_user(controller.user()),
            recorder: sink.recorder(controller.component(), &controller.host(), controller.user()),
            settings: settings.clone(),
        };
        let queue = Arc::new(Queue::default());
        controller.begin(&queue);
        tasks.spawn(work(controller.clone(), cx.clone(), queue.clone(), ready.clone(), gates.clone()));
        loops.push(Loop { controller, cx, queue });
    }
    tasks.spawn(dispatch(loops, client.store().clone(), listed));
}

async fn work(
    controller: Arc<dyn Controller>,
    cx: Cx,
    queue: Arc<Queue>,
    mut ready: watch::Receiver<bool>,
    gates: Gates,
) {
    // What a controller remembers of the objects is complete only when it has seen all of them.
    if ready.wait_for(|listed| *listed).await.is_err() {
        return;
    }
    loop {
        let key = queue.next().await;
        gates.open(controller.program()).await;
        // One object that a loop stumbles over must not keep it from all others.
        let outcome = AssertUnwindSafe(controller.sync(&cx, &key)).catch_unwind().await;
        match outcome.unwrap_or_else(|_| Err(Status::internal("a control loop failed"))) {
            Ok(next) => {
                queue.forget(&key);
                if let Next::After(delay) = next {
                    queue.add_after(key, delay);
                }
            }
            // Somebody else was faster: what it did is in the store now.
            Err(status) if status.code == 409 && status.reason == "Conflict" => {
                queue.retry(key, Duration::from_millis(1), cx.settings.retry_most);
            }
            Err(_) => queue.retry(key, cx.settings.retry_first, cx.settings.retry_most),
        }
    }
}

async fn dispatch(loops: Vec<Loop>, store: Store, listed: watch::Sender<bool>) {
    let mut by_resource: HashMap<GroupResource, Vec<usize>> = HashMap::new();
    let mut for_all = Vec::new();
    for (index, entry) in loops.iter().enumerate() {
        if entry.controller.follows().is_empty() {
            for_all.push(index);
        }
        for resource in entry.controller.follows() {
            by_resource.entry(resource).or_default().push(index);
        }
    }
    let deliver = |notice: &Notice<'_>| {
        for &index in for_all.iter().chain(by_resource.get(notice.resource).into_iter().flatten()) {
            let entry = &loops[index];
            entry.controller.notice(&entry.cx, notice, &entry.queue);
        }
    };
    // After a lag everything is looked at again, as at the start.
    loop {
        let Ok(mut watch) = store.watch(None, None) else { return };
        for resource in store.resources() {
            for entry in store.list(&resource, None) {
                deliver(&Notice {
                    resource: &resource,
                    change: Change::Added,
                    object: &entry.object,
                    previous: None,
                });
            }
        }
        listed.send_replace(true);
        while let Ok(event) = watch.next().await {
            deliver(&Notice {
                resource: &event.resource,
                change: event.change,
                object: &event.entry.object,
                previous: event.previous.as_ref().map(|entry| &*entry.object),
            });
        }
    }
}
