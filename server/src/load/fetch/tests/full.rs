//! A volume that fills while a model comes, and what keeps others from making room on it.
use super::{store::USE, *};
use crate::load::lock;
use std::{
    os::unix::fs::symlink,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Seven pieces of the file.
const PIECE: usize = 30_000;

/// The folder of the only model.
fn entry(cache: &Path) -> PathBuf {
    let entry = fs::read_dir(cache).unwrap().next();
    entry.unwrap().unwrap().path()
}

/// Where it is noted next which pieces there are.
fn next_note(cache: &Path) -> PathBuf {
    entry(cache).join("files/a.gguf.part.pieces.new")
}

#[tokio::test]
async fn a_volume_that_fills_is_told_and_waited_for_and_what_came_is_kept() {
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().to_owned();
    let is_full = Arc::new(AtomicBool::new(false));
    let site = Site::new(move |ask| {
        // The fifth piece is asked for once one of the first four is there.
        if ask.first_byte() == Some(4 * PIECE) && !is_full.swap(true, Ordering::Relaxed) {
            symlink("/dev/full", next_note(&folder)).unwrap();
        }
        file(&weights(), ask)
    })
    .await;
    let mut replica = Replica::new(cache.path(), &site.url("a.gguf"));
    replica.piece = Some(PIECE as u64);
    let enlarged = async {
        while !replica.problems().contains(&LoadFailure::InsufficientDisk) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fs::remove_file(next_note(cache.path())).unwrap();
    };
    let (located, ()) = tokio::join!(replica.locate(), enlarged);
    assert!(fs::read(located.unwrap().path).unwrap() == weights());

    let asked = site.asked();
    let times = |first: usize| {
        let first = Some(first * PIECE);
        asked.iter().filter(|ask| ask.first_byte() == first).count()
    };
    assert!((0..4).any(|piece| times(piece) == 1), "{asked:?}");
    let told = replica.told.lock().unwrap();
    let mut problems = told.iter().filter_map(|report| report.problem.as_ref());
    let message = &problems.next().unwrap().message;
    assert!(message.contains("spec.cache.size"), "{message}");
    assert_eq!(told.last().unwrap().problem, None, "it is over");
}

#[tokio::test]
async fn a_model_is_in_use_for_as_long_as_its_process_keeps_what_it_located() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| file(&weights(), ask)).await;
    let replica = Replica::new(cache.path(), &site.url("a.gguf"));
    let is_unused = || lock::if_unused(&entry(cache.path()).join(USE)).is_some();
    let fetched = replica.locate().await.unwrap();
    assert!(!is_unused());
    let found = replica.locate().await.unwrap();
    drop(fetched);
    assert!(!is_unused());
    drop(found);
    assert!(is_unused());
}
