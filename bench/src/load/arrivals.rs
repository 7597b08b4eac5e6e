//! Open arrivals: requests are sent when they are due, whether or not earlier ones were answered.
use super::{client::Connection, schedule::Arrival, users::Shared};
use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};
use tokio::sync::{Semaphore, mpsc};

/// How long the clock sleeps at most before it looks whether it should go on.
const NAP: Duration = Duration::from_millis(100);

/// Sends all arrivals; at most `connections` are open at once, and a request that waits for one
/// stays due when it was due.
pub(super) async fn run(
    shared: Arc<Shared>,
    arrivals: Vec<Arrival>,
    connections: u64,
    start: Instant,
) -> io::Result<()> {
    let (sender, mut due) = mpsc::unbounded_channel();
    let no_more = shared.no_more.clone();
    // Before any of them is due: the window does not end while one of its requests waits to be sent.
    let measured = |arrival: Arrival| (arrival, shared.measures(start + arrival.due));
    let arrivals: Vec<_> = arrivals.into_iter().map(measured).collect();
    // The runtime's timers have whole milliseconds; a thread of its own is late by microseconds.
    thread::Builder::new()
        .name("arrivals".to_owned())
        .spawn(move || {
            for (place, (arrival, measured)) in arrivals.into_iter().enumerate() {
                let going = wait_until(start + arrival.due, || no_more.is_cancelled());
                if !going || sender.send((place as u64, arrival, measured)).is_err() {
                    return;
                }
            }
        })?;
    let connections = usize::try_from(connections).unwrap_or(usize::MAX);
    let pool = Arc::new(Pool {
        idle: Mutex::new(Vec::new()),
        places: Semaphore::new(connections.min(Semaphore::MAX_PERMITS)),
    });
    while let Some((place, arrival, measured)) = due.recv().await {
        let (tasks, shared, pool) = (shared.tasks.clone(), shared.clone(), pool.clone());
        tasks.spawn(async move {
            send(&shared, &pool, place, arrival, start).await;
            drop(measured);
        });
    }
    Ok(())
}

/// Connections that other requests left open.
struct Pool {
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Pool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send(shared: &Shared, pool: &Pool, place: u64, arrival: Arrival, start: Instant) {
    let due = shared.wire.clock.at(start + arrival.due);
    // The semaphore is never closed.
    let Ok(_place) = pool.places.acquire().await else {
        return;
    };
    let mut slot = pool.lock().pop();
    shared.one(&mut slot, place, arrival.lengths, due).await;
    if let Some(connection) = slot {
        pool.lock().push(connection);
    }
}

/// Sleeps until a moment; false where it should not go on.
fn wait_until(moment: Instant, ended: impl Fn() -> bool) -> bool {
    loop {
        if ended() {
            return false;
        }
        let left = moment.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return true;
        }
        thread::sleep(left.min(NAP));
    }
}
