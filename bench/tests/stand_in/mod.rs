//! A server that speaks OpenAI's API and takes exactly as long as its laws say, for tests of the
//! load generator. It logs when it really sent each token, so that a busy machine, on which nothing
//! happens exactly when it is due, does not change what is true.
mod answer;
mod http;
pub mod laws;
mod serve;

use laws::Laws;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    thread::JoinHandle,
    time::Instant,
};
use tokio::sync::oneshot;

/// What happened to one request.
#[derive(Clone, Debug)]
#[allow(
    dead_code,
    reason = "each program that includes this module reads some of it"
)]
pub struct Entry {
    /// When its head had been read.
    pub received: Instant,
    /// When the last of it had been read: clients may take their time between the two.
    pub complete: Instant,
    /// When a place among the running requests was free for it.
    pub admitted: Instant,
    /// Tokens of its prompt.
    pub prompt_tokens: u32,
    /// When each token was handed to the connection.
    pub tokens: Vec<Instant>,
    /// When the answer was complete.
    pub finished: Option<Instant>,
    /// When it was refused instead, whatever the reason.
    pub failed: Option<Instant>,
}

/// Requests by their trace id.
pub type Log = Arc<Mutex<BTreeMap<String, Entry>>>;

/// All finished requests as lists of microseconds: received, first token, last token, end, then the
/// number of tokens, and when the request was complete.
fn times(log: &BTreeMap<String, Entry>) -> String {
    let origin = log.values().map(|entry| entry.received).min();
    let since = |moment: Instant| moment.duration_since(origin.unwrap_or(moment)).as_micros();
    let rows = log.values().filter_map(|entry| {
        let (first, last) = (entry.tokens.first()?, entry.tokens.last()?);
        let times = [entry.received, *first, *last, entry.finished?].map(since);
        let [received, first, last, finished] = times;
        let (count, complete) = (entry.tokens.len(), since(entry.complete));
        Some(format!(
            "[{received},{first},{last},{finished},{count},{complete}]"
        ))
    });
    format!("[{}]", rows.collect::<Vec<_>>().join(","))
}

/// A running server; it ends when it is dropped.
pub struct StandIn {
    pub address: SocketAddr,
    log: Log,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[allow(
    dead_code,
    reason = "each program that includes this module uses some of it"
)]
impl StandIn {
    /// Starts one on a thread of its own.
    pub fn start(laws: Laws) -> Self {
        Self::at("127.0.0.1:0".parse().unwrap(), laws)
    }

    /// The same at an address.
    pub fn at(address: SocketAddr, laws: Laws) -> Self {
        let listener = std::net::TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let log = Log::default();
        let kept = log.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve::serve(listener, laws, kept) => {}
                    _ = ended => {}
                }
            });
            // Dropping the runtime closes all connections at once, as a crash would.
        });
        Self {
            address,
            log,
            end: Some(end),
            thread: Some(thread),
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn log(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.log.lock().unwrap()
    }

    /// Waits for ever.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }

    /// Closes everything at once, as a crash would.
    pub fn die(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
