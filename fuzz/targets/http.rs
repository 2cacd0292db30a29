//! An API in memory, asked without a socket.

use std::sync::{Arc, OnceLock};

use cks_lab::clock::SystemClock;
use cks_lab::sim::api::Api;
use cks_lab::sim::attributes::UserInfo;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tower::ServiceExt as _;

/// Asks a fresh API with what `set_up` put into it; many inputs share one.
pub struct Asked {
    api: Api,
    runtime: tokio::runtime::Runtime,
}

impl Asked {
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        Self { api: Api::in_memory(Arc::new(SystemClock)), runtime }
    }

    /// Sends a request and returns its status and body.
    pub fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(Full::new(body.to_vec().into()))
            .unwrap();
        self.runtime.block_on(async {
            let user = UserInfo::named("fuzzer", &["system:masters"]);
            let response = self.api.service(user).oneshot(request).await.unwrap();
            let status = response.status().as_u16();
            (status, response.into_body().collect().await.unwrap().to_bytes().to_vec())
        })
    }
}

thread_local! {
    static ASKED: OnceLock<Asked> = const { OnceLock::new() };
}

/// Uses the API of this thread, which `set_up` prepares the first time.
pub fn asked<T>(set_up: impl FnOnce(&Asked), with: impl FnOnce(&Asked) -> T) -> T {
    ASKED.with(|asked| {
        let asked = asked.get_or_init(|| {
            let asked = Asked::new();
            set_up(&asked);
            asked
        });
        with(asked)
    })
}

/// Holds an answer to what every answer is: JSON, and no fault of the server's own. Upstream answers some patches with a
/// 500 that has no reason, and so do we.
pub fn hold(path: &str, status: u16, answer: &[u8]) {
    let said: serde_json::Value = serde_json::from_slice(answer).unwrap();
    let sound = status < 500 || status == 501 || status == 500 && said.get("reason").is_none();
    assert!(sound, "{path}: {said}");
}
