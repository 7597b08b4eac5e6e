//! One signal that stops every part of the process.
use std::time::Duration;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Less than the grace period of the operator's pod.
const LONGEST_FAREWELL: Duration = Duration::from_secs(20);

/// Becomes true once, on SIGTERM or SIGINT.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Starts listening for the signals.
    pub fn on_signal() -> Self {
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(async move {
            terminated().await;
            tracing::info!("stopping: running reconciles may finish");
            // Without receivers there is nothing left to stop.
            let _ = stop.send(true);
        });
        Self(stopped)
    }

    /// Waits for the signal.
    pub async fn wait(mut self) {
        // An error means that the sender is gone, with the runtime: that is a stop, too.
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }

    /// Waits for the signal, and then for as long as running reconciles may take.
    pub async fn patience(&self) {
        self.clone().wait().await;
        tokio::time::sleep(LONGEST_FAREWELL).await;
    }
}

async fn terminated() {
    let wait_for = async |kind| match signal(kind) {
        Ok(mut stream) => {
            stream.recv().await;
        }
        Err(error) => {
            tracing::warn!(%error, "a signal cannot be caught; the process will stop abruptly");
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = wait_for(SignalKind::terminate()) => {}
        () = wait_for(SignalKind::interrupt()) => {}
    }
}
