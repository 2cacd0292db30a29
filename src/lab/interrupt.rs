//! How a front end asks the lab to stop what it is doing and clean up: once for all waiting use cases.

use tokio::sync::watch;

/// Asks to stop.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Is asked to stop.
#[derive(Debug, Clone)]
pub struct Interrupt(watch::Receiver<bool>);

/// Makes both ends.
pub fn interrupt() -> (Trigger, Interrupt) {
    let (sender, receiver) = watch::channel(false);
    (Trigger(sender), Interrupt(receiver))
}

impl Trigger {
    /// Asks to stop.
    pub fn pull(&self) {
        // Nobody listens when nothing is being done.
        let _ = self.0.send(true);
    }
}

impl Interrupt {
    /// Waits until it is asked to stop.
    pub async fn pulled(&mut self) {
        if self.0.wait_for(|pulled| *pulled).await.is_err() {
            // Whoever could ask is gone, so nobody ever will.
            std::future::pending::<()>().await;
        }
    }
}
