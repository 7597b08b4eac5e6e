//! Threads that run one closure together, with barriers inside it.
//!
//! A step of a model is hundreds of short parallel sections, so starting one must cost well under
//! a microsecond: helpers spin between sections. A server shares its cores, so they do not spin for
//! long.
mod contention;
mod wait;

use contention::{Contention, Crew};
use std::{
    any::Any,
    cell::UnsafeCell,
    fmt, io,
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Acquire, Relaxed, Release, SeqCst},
        },
    },
    thread::{self, JoinHandle},
    time::Instant,
};
use wait::{Alone, Barrier, Waiting};

/// A fixed set of threads; the one that calls [`Pool::run`] is one of them.
pub struct Pool {
    shared: Arc<Shared>,
    helpers: Vec<JoinHandle<()>>,
}

/// One of the threads that run a closure together.
pub struct Worker<'a> {
    index: usize,
    count: usize,
    barrier: &'a Barrier,
    waiting: &'a Waiting,
}

impl Worker<'_> {
    /// This worker's number, from 0; the caller is 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many workers run the closure.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits until every worker is here. All must call it equally often.
    pub fn barrier(&self) {
        if self.count > 1 {
            self.barrier.wait(self.count, self.waiting);
        }
    }

    /// This worker's share of `0..total`: one run of neighbours.
    pub fn share(&self, total: usize) -> Range<usize> {
        total * self.index / self.count..total * (self.index + 1) / self.count
    }
}

impl Pool {
    /// A pool of `threads` threads (at least one), the caller included.
    pub fn new(threads: usize) -> io::Result<Self> {
        Self::start(threads, Some(Contention::default()))
    }

    /// Without `contention`, all threads always take part.
    fn start(threads: usize, contention: Option<Contention>) -> io::Result<Self> {
        let threads = threads.max(1);
        let shared = Arc::new(Shared {
            threads,
            busy: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            round: Alone(AtomicUsize::new(0)),
            running: Alone(AtomicUsize::new(0)),
            waiting: Waiting::default(),
            contention: contention.map(Mutex::new),
            job: UnsafeCell::new(None),
            barrier: Barrier::default(),
            panic: Mutex::new(None),
        });
        // Should a later thread fail to start, dropping the pool stops the earlier ones.
        let mut pool = Self {
            shared,
            helpers: Vec::with_capacity(threads - 1),
        };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            pool.helpers.push(
                thread::Builder::new()
                    .name(format!("kernels-{index}"))
                    .spawn(move || shared.help(index))?,
            );
        }
        Ok(pool)
    }

    /// How many threads the pool has, the caller included.
    pub fn threads(&self) -> usize {
        self.shared.threads
    }

    /// Runs `work` once on every worker and returns when all have returned.
    ///
    /// While the pool is busy (another thread is in `run`, or `work` itself calls it) the call
    /// runs on the calling thread alone, as a single worker; and so do short runs while that is the faster way, beside other
    /// load.
    ///
    /// A panic in `work` ends the run on all workers and goes on in the caller.
    pub fn run<F: Fn(&Worker<'_>) + Sync>(&self, work: F) {
        let shared = &*self.shared;
        if self.helpers.is_empty() || shared.busy.swap(true, Acquire) {
            return work(&shared.single_worker());
        }
        let _running = Running(&shared.busy);
        let Some(contention) = &shared.contention else {
            self.run_on_all(work);
            return;
        };
        let mut contention = contention.lock().unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        let slept = match contention.crew() {
            Crew::All => self.run_on_all(work),
            Crew::One => {
                work(&shared.single_worker());
                false
            }
        };
        let now = Instant::now();
        contention.note(now, now - began, slept);
    }

    /// Runs `work` on every worker, while the caller has the pool, and says whether the caller slept until it was done.
    fn run_on_all<F: Fn(&Worker<'_>) + Sync>(&self, work: F) -> bool {
        let shared = &*self.shared;
        shared.barrier.reset();
        shared.running.0.store(self.helpers.len(), Relaxed);
        let job = Job::new(&work);
        // SAFETY: `busy` makes this the only run, and between runs no helper looks at the job.
        unsafe { *shared.job.get() = Some(job) };
        shared.round.0.fetch_add(1, SeqCst);
        shared.waiting.wake();
        // SAFETY: `work` outlives this call.
        unsafe { shared.execute(job, 0) };
        let slept = shared
            .waiting
            .wait_until(|| shared.running.0.load(SeqCst) == 0);
        if let Some(panic) = shared.take_panic() {
            resume_unwind(panic);
        }
        slept
    }

    /// Calls `work` with every chunk of `chunk_len` items (the last may be shorter) and its
    /// number. Each worker has one run of neighbouring chunks.
    pub fn for_chunks<T: Send>(
        &self,
        data: &mut [T],
        chunk_len: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let mut scratch = vec![(); self.threads()];
        self.for_chunks_with(&mut scratch, data, chunk_len, |(), index, chunk| {
            work(index, chunk);
        });
    }

    /// Like [`Pool::for_chunks`], where each worker has one item of `scratch` to itself. Of more
    /// workers than items, the rest stay idle.
    pub fn for_chunks_with<S: Send, T: Send>(
        &self,
        scratch: &mut [S],
        data: &mut [T],
        chunk_len: usize,
        work: impl Fn(&mut S, usize, &mut [T]) + Sync,
    ) {
        let chunk_len = chunk_len.max(1);
        let chunks = data.len().div_ceil(chunk_len);
        let scratch = Shards::new(scratch);
        let data = Shards::new(data);
        self.run(|worker| {
            let (index, count) = (worker.index, worker.count.min(scratch.len));
            if index >= count {
                return;
            }
            // SAFETY: each worker has another index.
            let scratch = unsafe { scratch.range(index..index + 1) };
            let Some(scratch) = scratch.first_mut() else {
                return;
            };
            for chunk in chunks * index / count..chunks * (index + 1) / count {
                let start = chunk * chunk_len;
                let end = (start + chunk_len).min(data.len);
                // SAFETY: no two workers have the same chunk, and this one drops each before the
                // next.
                work(scratch, chunk, unsafe { data.range(start..end) });
            }
        });
    }
}

/// The caller has the pool until this is dropped.
struct Running<'a>(&'a AtomicBool);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.store(false, Release);
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.shared.round.0.fetch_add(1, SeqCst);
        self.shared.waiting.wake();
        for helper in self.helpers.drain(..) {
            // A helper catches every panic, so joining cannot fail.
            let _ = helper.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pool")
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

/// What the threads have in common.
struct Shared {
    threads: usize,
    /// A run is under way.
    busy: AtomicBool,
    /// The pool is being dropped.
    stop: AtomicBool,
    /// Counts runs; a helper starts when it changes.
    round: Alone<AtomicUsize>,
    /// Helpers that have not finished the run.
    running: Alone<AtomicUsize>,
    waiting: Waiting,
    /// Only whoever has set `busy` looks at it.
    contention: Option<Mutex<Contention>>,
    job: UnsafeCell<Option<Job>>,
    barrier: Barrier,
    /// The first panic of the run.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is the only field that is not `Sync`. It is written only between runs by the
// thread that holds `busy`, and read by helpers only after they have seen `round` change.
unsafe impl Sync for Shared {}
// SAFETY: as above; a `Job` is made from a closure that is `Sync`.
unsafe impl Send for Shared {}

impl Shared {
    /// The caller, where no other thread takes part.
    fn single_worker(&self) -> Worker<'_> {
        Worker {
            index: 0,
            count: 1,
            barrier: &self.barrier,
            waiting: &self.waiting,
        }
    }

    /// A helper's life.
    fn help(&self, index: usize) {
        let mut round = 0_usize;
        loop {
            self.waiting
                .wait_until(|| self.round.0.load(SeqCst) != round);
            round = round.wrapping_add(1);
            if self.stop.load(Relaxed) {
                return;
            }
            // SAFETY: the caller wrote the job before it changed `round`, and neither changes it
            // nor lets the closure go before `running` is 0.
            unsafe {
                if let Some(job) = *self.job.get() {
                    self.execute(job, index);
                }
            }
            if self.running.0.fetch_sub(1, SeqCst) == 1 {
                self.waiting.wake();
            }
        }
    }

    /// Runs the job as one worker and keeps its panic.
    ///
    /// # Safety
    /// The job's closure must be alive.
    unsafe fn execute(&self, job: Job, index: usize) {
        let worker = Worker {
            index,
            count: self.threads,
            barrier: &self.barrier,
            waiting: &self.waiting,
        };
        // SAFETY: by this function's own contract.
        let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { job.call(&worker) }));
        if let Err(panic) = outcome {
            // The first one is the cause; those that follow may be barriers it has broken.
            self.panic
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get_or_insert(panic);
            self.barrier.abandon(&self.waiting);
        }
    }

    fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.panic
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// A borrowed closure without its type and lifetime.
#[derive(Clone, Copy)]
struct Job {
    closure: *const (),
    call: unsafe fn(*const (), &Worker<'_>),
}

impl Job {
    fn new<F: Fn(&Worker<'_>) + Sync>(work: &F) -> Self {
        unsafe fn call<F: Fn(&Worker<'_>) + Sync>(closure: *const (), worker: &Worker<'_>) {
            // SAFETY: `Job::call` promises that the closure is alive; `new` that it is an `F`.
            unsafe { (*closure.cast::<F>())(worker) }
        }
        Self {
            closure: std::ptr::from_ref(work).cast(),
            call: call::<F>,
        }
    }

    /// # Safety
    /// The closure must be alive.
    unsafe fn call(self, worker: &Worker<'_>) {
        // SAFETY: by this function's own contract.
        unsafe { (self.call)(self.closure, worker) }
    }
}

/// A slice that workers share out among themselves.
pub(crate) struct Shards<T> {
    start: *mut T,
    pub(crate) len: usize,
}

// SAFETY: each item is used by one thread at a time (`range`'s contract), so sending is enough.
unsafe impl<T: Send> Sync for Shards<T> {}

impl<T> Shards<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr(),
            len: slice.len(),
        }
    }

    /// A part of the slice.
    ///
    /// # Safety
    /// The slice must still be borrowed, and no two live ranges may overlap.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn range(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.len);
        // SAFETY: the range lies within the slice; the rest is this function's own contract.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}

#[cfg(test)]
mod tests;
