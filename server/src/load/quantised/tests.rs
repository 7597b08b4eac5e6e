//! What is kept of quantised weights, and what becomes of it when it is damaged, shared or in the way.
use super::*;
use crate::{
    load::ModelFiles,
    model::{
        Role,
        testing::{fixture, gguf, random},
    },
};
use candle_core::quantized::GgmlDType;
use std::{os::unix::fs::MetadataExt, sync::Mutex};

const Q8_0: FormatPlan = FormatPlan::Into(GgmlDType::Q8_0);

fn kept(folder: &Path) -> Kept {
    Kept {
        digest: "0123".to_owned(),
        made: folder.join("quantised"),
    }
}

fn weights(files: &ModelFiles) -> DecoderWeights<'_> {
    DecoderWeights::find(files.description(), files.weights()).unwrap()
}

fn copy(files: &ModelFiles, plan: FormatPlan, kept: &Kept) -> Option<QuantisedCopy> {
    copy_of(&weights(files), plan, kept, &|_| {})
}

/// The only file of its kind.
fn file_of(kept: &Kept) -> PathBuf {
    let mut found: Vec<_> = files(&kept.made)
        .filter(|path| path.file_name().unwrap() != LOCK)
        .collect();
    let path = found.pop().unwrap();
    assert!(found.is_empty(), "{found:?}");
    path
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

/// Everything that a backend gets of the weights.
fn all(weights: &DecoderWeights<'_>) -> Vec<(GgmlDType, Vec<u8>)> {
    let everything = weights.list().into_iter();
    everything
        .map(|weight| {
            if weights.role(weight) == Role::Vector {
                let vector = weights.vector(weight).unwrap();
                let bytes = vector.iter().flat_map(|number| number.to_le_bytes());
                return (GgmlDType::F32, bytes.collect());
            }
            let matrix = weights.matrix(weight).unwrap();
            (matrix.format, matrix.bytes.into_owned())
        })
        .collect()
}

fn assert_same(files: &ModelFiles, plan: FormatPlan, what: &str) {
    let folder = tempfile::tempdir().unwrap();
    let copy = copy(files, plan, &kept(folder.path())).unwrap();
    let converted = all(&weights(files).reading(plan, &|_| {}));
    let read = weights(files).stored_in(copy.weights()).unwrap();
    assert!(all(&read.reading(plan, &|_| {})) == converted, "{what}");
}

#[test]
fn what_comes_from_the_cache_is_what_would_be_converted() {
    for name in fixture::NAMES {
        assert_same(&fixture::files(name), Q8_0, name);
        let file = gguf::write_fixture(name);
        assert_same(&ModelFiles::open(file.path()).unwrap(), Q8_0, name);
    }
    for format in [GgmlDType::Q4_0, GgmlDType::Q4K, GgmlDType::Q6K] {
        let file = random::llama(GgmlDType::F16, None);
        let files = ModelFiles::open(file.path()).unwrap();
        assert_same(&files, FormatPlan::Into(format), &format_name(format));
    }
}

#[test]
fn what_is_kept_is_not_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    copy(&files, Q8_0, &kept).unwrap();
    let path = file_of(&kept);
    let name = path.file_name().unwrap().to_string_lossy();
    assert!(name.starts_with("q8_0-"), "{name}");
    let first = inode(&path);
    copy(&files, Q8_0, &kept).unwrap();
    assert_eq!(inode(&file_of(&kept)), first);
}

#[test]
fn what_is_not_quantised_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    for plan in [
        FormatPlan::AsStored,
        FormatPlan::Into(GgmlDType::F32),
        FormatPlan::Into(GgmlDType::BF16),
    ] {
        assert!(copy(&files, plan, &kept).is_none(), "{plan:?}");
    }
    assert!(!kept.made.exists());
}

#[test]
fn what_is_damaged_or_cut_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    copy(&files, Q8_0, &kept).unwrap();
    let path = file_of(&kept);
    let whole = fs::read(&path).unwrap();
    let mut damaged: Vec<Vec<u8>> = [0, 1, whole.len() / 2, whole.len() - 1]
        .into_iter()
        .map(|length| whole[..length].to_vec())
        .collect();
    for position in [0, 100, whole.len() / 2, whole.len() - 1] {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        damaged.push(changed);
    }
    for damaged in damaged {
        fs::write(&path, &damaged).unwrap();
        let copy = copy(&files, Q8_0, &kept).unwrap();
        assert!(copy.file.bytes() == whole);
        assert!(fs::read(file_of(&kept)).unwrap() == whole);
    }
}

#[test]
fn other_files_of_the_model_and_other_precisions_are_other_weights() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    let newer = Kept {
        digest: "4567".to_owned(),
        ..kept.clone()
    };
    let names = || {
        let found = super::files(&kept.made).filter(|path| path.extension().is_some());
        found.collect::<Vec<_>>()
    };
    drop(copy(&files, Q8_0, &kept).unwrap());
    let first = file_of(&kept);
    let four = FormatPlan::Into(GgmlDType::Q4_0);
    drop(copy(&files, four, &kept).unwrap());
    assert_eq!(names().len(), 2);
    drop(copy(&files, Q8_0, &newer).unwrap());
    assert_eq!(names().len(), 2, "what is outdated goes");
    assert!(!first.exists());
}

#[test]
fn what_another_process_reads_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    let newer = Kept {
        digest: "4567".to_owned(),
        ..kept.clone()
    };
    let reading = copy(&files, Q8_0, &kept).unwrap();
    let path = file_of(&kept);
    drop(copy(&files, Q8_0, &newer).unwrap());
    assert!(path.exists());
    drop(reading);
}

#[test]
fn replicas_that_start_together_make_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    let inodes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                copy(&files, Q8_0, &kept).unwrap();
                inodes.lock().unwrap().push(inode(&file_of_name(&kept)));
            });
        }
    });
    let inodes = inodes.into_inner().unwrap();
    assert!(inodes.iter().all(|inode| *inode == inodes[0]), "{inodes:?}");
    file_of(&kept);
}

/// The finished file, while others may be on their way.
fn file_of_name(kept: &Kept) -> PathBuf {
    let mut found = files(&kept.made);
    found
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "gguf")
        })
        .unwrap()
}

#[test]
fn what_a_stopped_process_left_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    fs::create_dir_all(&kept.made).unwrap();
    fs::write(kept.made.join("q8_0-0.1.new"), b"half of it").unwrap();
    copy(&files, Q8_0, &kept).unwrap();
    file_of(&kept);
}

#[test]
fn where_nothing_can_be_kept_the_model_is_served_without() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    // What should be a folder is a file.
    fs::write(&kept.made, b"").unwrap();
    assert!(copy(&files, Q8_0, &kept).is_none());
}

#[test]
fn progress_ends_at_a_hundred_percent_where_it_is_only_read() {
    let folder = tempfile::tempdir().unwrap();
    let (files, kept) = (fixture::files("llama"), kept(folder.path()));
    let told = || {
        let told = Mutex::new(Vec::new());
        let progress = |percent| told.lock().unwrap().push(percent);
        copy_of(&weights(&files), Q8_0, &kept, &progress).unwrap();
        told.into_inner().unwrap()
    };
    let made = told();
    assert!(made.is_sorted() && made.len() > 4, "{made:?}");
    assert_eq!(told().last(), Some(&100));
}
