//! Pieces of one file at the same time.
use super::{
    site::{careless, cut, held, sha256, stall, whole},
    *,
};
use axum::http::header;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Seven pieces of the file, the last of which is shorter.
const PIECE: u64 = 30_000;

/// Of a file that comes in pieces.
fn replica(cache: &Path, site: &Site) -> Replica {
    let mut replica = Replica::new(cache, &site.url("a.gguf"));
    replica.piece = Some(PIECE);
    replica
}

/// The ranges that were asked for, in the file's order.
fn ranges(asked: &[Ask]) -> Vec<(usize, usize)> {
    let mut ranges: Vec<_> = asked
        .iter()
        .filter_map(|ask| Some((ask.first_byte()?, ask.last_byte()?)))
        .collect();
    ranges.sort_unstable();
    ranges
}

/// Bytes of it in the folder.
fn there(cache: &Path) -> u64 {
    let entry = fs::read_dir(cache).unwrap().next();
    entry.map_or(0, |entry| {
        part::there(&entry.unwrap().path().join("files/a.gguf"))
    })
}

fn newer() -> Vec<u8> {
    weights().into_iter().rev().collect()
}

#[tokio::test]
async fn a_long_file_comes_in_pieces_of_one_version() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| file(&weights(), ask)).await;
    let replica = replica(cache.path(), &site);
    let located = replica.locate().await.unwrap();
    assert!(fs::read(&located.path).unwrap() == weights());
    assert_eq!(located.sha256, Some(sha256(&weights())));
    let asked = site.asked();
    assert_eq!(
        ranges(&asked),
        [
            (0, 29_999),
            (30_000, 59_999),
            (60_000, 89_999),
            (90_000, 119_999),
            (120_000, 149_999),
            (150_000, 179_999),
            (180_000, 199_999),
        ]
    );
    let tag = site::tag(&weights());
    let of_that = |ask: &Ask| ask.header(header::IF_RANGE) == Some(tag.as_str());
    assert!(asked[1..].iter().all(of_that));
    let last = replica.told.lock().unwrap().last().unwrap().clone();
    assert_eq!(last.percent, 100);
    for suffix in [".part", ".part.tag", ".part.pieces"] {
        let left = part::with_suffix(&located.path, suffix);
        assert!(!left.exists(), "{}", left.display());
    }
}

#[tokio::test]
async fn pieces_come_at_the_same_time_unless_there_is_one_connection_only() {
    let cache = tempfile::tempdir().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let site = Site::new(move |ask| {
        if ask.last_byte().is_none() {
            return file(&weights(), ask);
        }
        count.fetch_add(1, Ordering::Relaxed);
        let count = count.clone();
        // The first answer waits for the third question.
        held(&weights(), ask, move || count.load(Ordering::Relaxed) >= 3)
    })
    .await;
    let three = replica(cache.path(), &site).changed(|config| config.fetch.connections = Some(3));
    assert!(three.fetched().await == weights());

    let cache = tempfile::tempdir().unwrap();
    let one = replica(cache.path(), &site).changed(|config| config.fetch.connections = Some(1));
    let before = site.count();
    assert!(one.fetched().await == weights());
    assert_eq!(site.count(), before + 1, "in one go");
}

#[tokio::test]
async fn of_a_piece_whose_line_breaks_only_the_rest_is_asked_for() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.first_byte() {
        Some(60_000) => cut(&weights(), ask, 10_000),
        _ => file(&weights(), ask),
    })
    .await;
    let replica = replica(cache.path(), &site);
    assert!(replica.fetched().await == weights());
    let asked = ranges(&site.asked());
    assert_eq!(asked[2..4], [(60_000, 89_999), (70_000, 89_999)]);
    assert_eq!(asked.len(), 8);
    assert_eq!(replica.problems(), [], "that is nobody's concern");
}

#[tokio::test]
async fn a_process_that_is_stopped_leaves_pieces_for_the_next() {
    let cache = tempfile::tempdir().unwrap();
    let is_stopped = Arc::new(AtomicBool::new(false));
    let serves_all = is_stopped.clone();
    let site = Site::new(move |ask| match ask.first_byte() {
        Some(60_000..90_000) if !serves_all.load(Ordering::Relaxed) => {
            stall(&weights(), ask, 10_000)
        }
        _ => file(&weights(), ask),
    })
    .await;
    let stopped = async {
        // It is as long as the whole file at once.
        while !(170_000..200_000).contains(&there(cache.path())) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = async { replica(cache.path(), &site).locate().await } => panic!("it stalls"),
        () = stopped => {}
    }
    is_stopped.store(true, Ordering::Relaxed);
    let before = site.count();
    let next = replica(cache.path(), &site);
    let located = next.locate().await.unwrap();
    assert!(fs::read(located.path).unwrap() == weights());
    assert_eq!(located.sha256, Some(sha256(&weights())));
    let asked = ranges(&site.asked()[before..]);
    assert!(matches!(asked[..], [(60_000..90_000, 89_999)]), "{asked:?}");
}

#[tokio::test]
async fn a_server_that_only_says_that_it_sends_pieces_is_asked_for_all() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| whole(&weights(), ask)).await;
    assert!(replica(cache.path(), &site).fetched().await == weights());
    let asked = site.asked();
    assert_eq!(asked.last().unwrap().last_byte(), None, "not once more");
}

#[tokio::test]
async fn pieces_of_another_version_are_not_mixed_with_those_of_the_first() {
    for answer in [file, careless] {
        let cache = tempfile::tempdir().unwrap();
        let site = Site::new(move |ask| match ask.before {
            0..3 => file(&weights(), ask),
            _ => answer(&newer(), ask),
        })
        .await;
        let located = replica(cache.path(), &site).locate().await.unwrap();
        assert!(fs::read(located.path).unwrap() == newer());
        assert_eq!(located.sha256, Some(sha256(&newer())));
    }
}

#[tokio::test]
async fn the_rest_of_a_beginning_comes_in_pieces_too() {
    let cache = tempfile::tempdir().unwrap();
    let site = Site::new(|ask| match ask.before {
        0 => stall(&weights(), ask, 70_000),
        _ => file(&weights(), ask),
    })
    .await;
    let one = Replica::new(cache.path(), &site.url("a.gguf"));
    let stopped = async {
        while there(cache.path()) != 70_000 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = one.locate() => panic!("it stalls"),
        () = stopped => {}
    }
    let located = replica(cache.path(), &site).locate().await.unwrap();
    assert!(fs::read(located.path).unwrap() == weights());
    assert_eq!(located.sha256, Some(sha256(&weights())));
    let asked = ranges(&site.asked());
    assert_eq!(asked.len(), 5);
    assert_eq!(asked[0], (70_000, 99_999));
}
