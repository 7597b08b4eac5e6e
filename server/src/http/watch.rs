//! Looks at a mounted folder again and again: kubelet changes what is in it, and tells nobody.
use std::{sync::Arc, time::Duration};

/// How often a folder is looked at. Kubelet takes up to a minute to bring a changed Secret, so a few seconds more do not
/// matter.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Calls `look`, which reads the folder, until it is dropped.
pub(super) async fn follow(look: impl Fn() + Send + Sync + 'static) {
    let look = Arc::new(look);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let look = Arc::clone(&look);
        // Files are read outside of the threads that serve. A task that cannot run belongs to a process that ends.
        let _ = tokio::task::spawn_blocking(move || look()).await;
    }
}
