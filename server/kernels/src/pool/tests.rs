//! What the pool promises.
use super::*;
use std::time::{Duration, Instant};

/// All of whose threads always work, whatever else the machine does.
fn pool(threads: usize) -> Pool {
    Pool::start(threads, None).unwrap()
}

fn pools() -> impl Iterator<Item = Pool> {
    [1, 2, 3, 7].into_iter().map(pool)
}

#[test]
fn every_worker_runs_the_closure_once() {
    for pool in pools() {
        let runs: Vec<_> = (0..pool.threads()).map(|_| AtomicUsize::new(0)).collect();
        for _ in 0..500 {
            pool.run(|worker| {
                assert_eq!(worker.count(), runs.len());
                runs[worker.index()].fetch_add(1, Relaxed);
            });
        }
        assert!(runs.iter().all(|runs| runs.load(Relaxed) == 500));
    }
}

#[test]
fn behind_a_barrier_all_writes_before_it_are_seen() {
    for pool in pools() {
        let steps = AtomicUsize::new(0);
        pool.run(|worker| {
            for round in 1..=100 {
                steps.fetch_add(1, Relaxed);
                worker.barrier();
                assert_eq!(steps.load(Relaxed), round * worker.count());
                worker.barrier();
            }
        });
    }
}

#[test]
fn chunks_are_visited_once_each_with_their_number() {
    for pool in pools() {
        for (len, chunk_len) in [(0, 3), (1, 3), (3, 3), (100, 7), (8, 100), (5, 0)] {
            let mut data = vec![0; len];
            pool.for_chunks(&mut data, chunk_len, |index, chunk| {
                for item in chunk {
                    *item += index + 1;
                }
            });
            let expected: Vec<_> = (0..len).map(|item| item / chunk_len.max(1) + 1).collect();
            assert_eq!(data, expected);
        }
    }
}

#[test]
fn each_worker_keeps_its_scratch() {
    for pool in pools() {
        for scratches in 1..=8 {
            let mut scratch = vec![0; scratches];
            let mut data = vec![0_u8; 64];
            pool.for_chunks_with(&mut scratch, &mut data, 1, |count, _, chunk| {
                *count += 1;
                chunk[0] += 1;
            });
            assert_eq!(scratch.iter().sum::<usize>(), 64);
            assert!(data.iter().all(|&visits| visits == 1));
        }
    }
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
    for pool in pools() {
        for culprit in 0..pool.threads() {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                pool.run(|worker| {
                    assert!(worker.index() != culprit, "culprit {culprit}");
                    worker.barrier();
                });
            }));
            let message = outcome.unwrap_err();
            assert_eq!(
                message.downcast_ref::<String>(),
                Some(&format!("culprit {culprit}"))
            );
            let workers = AtomicUsize::new(0);
            pool.run(|worker| {
                worker.barrier();
                workers.fetch_add(1, Relaxed);
            });
            assert_eq!(workers.into_inner(), pool.threads());
        }
    }
}

#[test]
fn a_run_inside_a_run_has_one_worker() {
    for pool in pools() {
        let inner = AtomicUsize::new(0);
        pool.run(|_| {
            pool.run(|worker| {
                worker.barrier();
                inner.fetch_add(worker.count(), Relaxed);
            });
        });
        assert_eq!(inner.into_inner(), pool.threads());
    }
}

#[test]
fn callers_on_several_threads_do_not_disturb_each_other() {
    let pool = pool(3);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let mut data = [0; 50];
                    pool.for_chunks(&mut data, 7, |_, chunk| {
                        for item in chunk {
                            *item += 1;
                        }
                    });
                    assert_eq!(data, [1; 50]);
                }
            });
        }
    });
}

#[test]
fn idle_helpers_sleep_and_wake_again() {
    let pool = pool(3);
    pool.run(|_| ());
    let deadline = Instant::now() + Duration::from_secs(20);
    while pool.shared.waiting.asleep() < 2 {
        assert!(Instant::now() < deadline, "helpers stay awake");
        thread::sleep(Duration::from_millis(1));
    }
    let runs = AtomicUsize::new(0);
    pool.run(|_| {
        runs.fetch_add(1, Relaxed);
    });
    assert_eq!(runs.into_inner(), 3);
}

#[test]
fn a_thread_that_keeps_others_waiting_is_left_out_of_short_runs() {
    let pool = Pool::new(2).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let workers = |time: Duration| {
        let workers = AtomicUsize::new(0);
        pool.run(|worker| {
            workers.fetch_add(1, Relaxed);
            if worker.index() == 1 {
                thread::sleep(time);
            }
        });
        workers.into_inner()
    };
    while workers(Duration::from_micros(100)) > 1 {
        assert!(Instant::now() < deadline, "it is waited for each time");
    }
}
