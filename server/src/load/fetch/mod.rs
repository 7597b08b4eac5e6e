//! Fetches a model that is not on a volume: from the Hugging Face hub, a web server, a bucket or a
//! registry, into a folder that outlives the process.
mod address;
mod bucket;
mod download;
mod environment;
mod error;
mod evict;
mod headers;
mod http;
mod hub;
mod listing;
mod located;
mod meter;
mod origin;
mod part;
mod pieces;
mod ranges;
mod registry;
mod retry;
mod space;
mod store;
mod web;

pub use error::FetchError;
pub use located::{Kept, Located};
pub use store::InUse;

use self::{
    address::Address,
    download::{Download, Fetched},
    environment::Environment,
    error::Failure,
    http::Http,
    listing::{Listing, Part, RemoteFile, Selection, select},
    meter::Meter,
    origin::Origin,
    ranges::Lines,
    retry::Patience,
    store::{Entry, Key, Record},
};
use super::model::Progress;
use candlepower_api::{
    names::reasons::LoadFailure,
    server_config::{ServerConfig, as_source},
};
use futures::{StreamExt, TryStreamExt, stream};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use tokio::runtime::Builder;

/// Files that come at the same time.
const AT_ONCE: usize = 4;

/// Where the model of `config` is on this machine, fetched if need be.
pub fn locate(config: &ServerConfig, progress: &Progress) -> Result<Located, FetchError> {
    let model = &config.model;
    let tokenizer = model.tokenizer.as_deref();
    let tokenizer_source = tokenizer.and_then(as_source);
    if model.source.is_none() && tokenizer_source.is_none() {
        return Ok(Located {
            path: model.path.clone(),
            tokenizer: model.tokenizer.clone(),
            ..Located::default()
        });
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| FetchError::Client(error.to_string()))?;
    let fetcher = Fetcher::new(
        config,
        Environment::of_process(),
        Patience::default(),
        progress,
    );
    runtime.block_on(fetcher.locate(config, tokenizer_source))
}

/// The name by which requests call what this source holds.
pub fn model_name(source: &str) -> Option<String> {
    Some(Address::parse(source).ok()?.model_name())
}

/// Fetches into one folder.
struct Fetcher<'a> {
    http: Http,
    environment: Environment,
    patience: Patience,
    lines: Lines,
    cache: PathBuf,
    allow_plain_http: bool,
    progress: &'a Progress<'a>,
}

/// An entry of the folder, and whether it came just now.
struct Found {
    path: PathBuf,
    made: PathBuf,
    record: Record,
    is_new: bool,
    in_use: InUse,
}

impl<'a> Fetcher<'a> {
    fn new(
        config: &ServerConfig,
        environment: Environment,
        patience: Patience,
        progress: &'a Progress<'a>,
    ) -> Self {
        let fetch = &config.fetch;
        Self {
            http: Http::new(fetch.allow_plain_http, patience),
            environment,
            patience,
            lines: Lines::new(fetch.connections),
            cache: fetch.cache.clone(),
            allow_plain_http: fetch.allow_plain_http,
            progress,
        }
    }

    async fn locate(
        &self,
        config: &ServerConfig,
        tokenizer: Option<&str>,
    ) -> Result<Located, FetchError> {
        let model = &config.model;
        let mut located = Located {
            path: model.path.clone(),
            tokenizer: model.tokenizer.clone(),
            ..Located::default()
        };
        if let Some(source) = &model.source {
            let revision = model.revision.as_deref();
            let part = Part::Model(model.file.as_deref());
            let sha256 = model.sha256.as_deref();
            let found = self.find(source, revision, part, sha256).await?;
            let opened = found.record.opened().filter(|_| found.is_new);
            located.sha256 = opened.map(|file| file.sha256.clone());
            located.path = found.path;
            located.kept = Some(Kept {
                digest: found.record.digest(),
                made: found.made,
            });
            located.in_use = found.in_use;
            located.version = found.record.version;
        }
        if let Some(source) = tokenizer {
            let found = self.find(source, None, Part::Tokenizer, None).await?;
            located.tokenizer = Some(found.path);
            located.in_use = located.in_use.and(found.in_use);
        }
        Ok(located)
    }

    /// What is in the folder of this source, or is fetched into it.
    async fn find(
        &self,
        source: &str,
        revision: Option<&str>,
        part: Part<'_>,
        sha256: Option<&str>,
    ) -> Result<Found, FetchError> {
        let address = Address::parse(source)?;
        check_fields(&address, source, revision, part)?;
        let origin = Origin::new(address, revision, self.allow_plain_http, &self.environment)?;
        let key = Key {
            source: source.to_owned(),
            revision: revision.map(str::to_owned),
            part: match part {
                Part::Model(pattern) => pattern.map(str::to_owned),
                Part::Tokenizer => Some(listing::TOKENIZER.to_owned()),
            },
        };
        let entry = Entry::new(&self.cache, &key);
        if let Some(found) = self.kept(&entry, &origin, part, sha256).await? {
            return Ok(found);
        }
        let meter = Meter::new(self.progress);
        let _lock = entry.lock(&meter).await?;
        // Whoever held the lock before may have fetched it.
        if let Some(found) = self.kept(&entry, &origin, part, sha256).await? {
            return Ok(found);
        }
        entry.forget();
        let fetched = self.fetch(&entry, &origin, &key, part, sha256, &meter);
        let record = fetched.await?;
        Ok(Found {
            path: entry.path(&record),
            made: entry.made(),
            record,
            is_new: true,
            in_use: entry.hold().await,
        })
    }

    /// What the folder has of the source. A file with another checksum than the wanted one is only
    /// given back while the source has no other.
    async fn kept(
        &self,
        entry: &Entry,
        origin: &Origin,
        part: Part<'_>,
        sha256: Option<&str>,
    ) -> Result<Option<Found>, FetchError> {
        // First, so that it is not removed in between.
        let in_use = entry.hold().await;
        let Some(record) = entry.record() else {
            return Ok(None);
        };
        let differs = record.opened().is_some_and(|file| {
            sha256.is_some_and(|sha256| !sha256.eq_ignore_ascii_case(&file.sha256))
        });
        if differs && self.has_changed(entry, origin, &record, part).await? {
            return Ok(None);
        }
        tracing::info!(source = record.key.source, "the model was fetched before");
        Ok(Some(Found {
            path: entry.path(&record),
            made: entry.made(),
            record,
            is_new: false,
            in_use,
        }))
    }

    /// Whether the source holds something else than when `record` was written.
    async fn has_changed(
        &self,
        entry: &Entry,
        origin: &Origin,
        record: &Record,
        part: Part<'_>,
    ) -> Result<bool, FetchError> {
        let meter = Meter::new(self.progress);
        if record.version.is_some() {
            let listing = self.list(origin, part, &meter).await?;
            return Ok(listing.version != record.version);
        }
        let tagged = record
            .opened()
            .and_then(|file| Some((RemoteFile::named(&file.name), file.tag.as_ref()?)));
        let Some((file, tag)) = tagged else {
            return Ok(true);
        };
        let download = self.download(origin, None, &meter, entry);
        Ok(!download.is_unchanged(&file, tag).await?)
    }

    async fn list(
        &self,
        origin: &Origin,
        part: Part<'_>,
        meter: &Meter<'_>,
    ) -> Result<Listing, FetchError> {
        self.patience
            .persist(meter, async || origin.list(&self.http, part).await)
            .await
    }

    const fn download<'b>(
        &'b self,
        origin: &'b Origin,
        version: Option<&'b str>,
        meter: &'b Meter<'b>,
        entry: &'b Entry,
    ) -> Download<'b> {
        Download {
            origin,
            version,
            http: &self.http,
            patience: self.patience,
            meter,
            lines: &self.lines,
            entry,
        }
    }

    /// Fetches all files that make the model. A volume that fills on the way may be enlarged: that is
    /// waited for, and what came is kept. One that has too little room from the beginning is refused.
    async fn fetch(
        &self,
        entry: &Entry,
        origin: &Origin,
        key: &Key,
        part: Part<'_>,
        sha256: Option<&str>,
        meter: &Meter<'_>,
    ) -> Result<Record, FetchError> {
        let mut has_filled = false;
        self.patience
            .persist(meter, async || {
                // Anew each time: what the system says that it wrote may be lost on a full volume, and
                // what is noted on it is true.
                let fetched = self.attempt(entry, origin, key, part, sha256, meter);
                fetched.await.map_err(|error| {
                    has_filled |= error.is_of_full_volume();
                    if has_filled && error.reason() == LoadFailure::InsufficientDisk {
                        Failure::waiting(&error)
                    } else {
                        Failure::Final(error)
                    }
                })
            })
            .await
    }

    async fn attempt(
        &self,
        entry: &Entry,
        origin: &Origin,
        key: &Key,
        part: Part<'_>,
        sha256: Option<&str>,
        meter: &Meter<'_>,
    ) -> Result<Record, FetchError> {
        let started = Instant::now();
        let source = &key.source;
        tracing::info!(source, "fetching the model");
        meter.begin();
        let listing = self.list(origin, part, meter).await?;
        let selection = select(&listing.files, source, part)?;
        if let Some(sha256) = sha256 {
            check_sha256(&selection, source, sha256)?;
        }
        let Selection { files, open } = selection;
        let bytes = files.iter().filter_map(|file| file.size).sum();
        entry.plan(bytes)?;
        meter.expect(bytes);
        entry.make_room(missing(&files, &entry.files()))?;
        let version = listing.version.as_deref();
        let download = self.download(origin, version, meter, entry);
        let fetched: Vec<Option<Fetched>> = stream::iter(&files)
            .map(|file| download.file(file))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let record = Record {
            version: listing.version,
            files: fetched.into_iter().flatten().collect(),
            open,
            key: key.clone(),
        };
        entry.complete(&record)?;
        meter.finish();
        tracing::info!(
            source = record.key.source,
            version = record.version,
            bytes = record.files.iter().map(|file| file.size).sum::<u64>(),
            seconds = started.elapsed().as_secs_f64(),
            "the model is fetched"
        );
        Ok(record)
    }
}

/// What can be known to be wrong before anything is fetched.
fn check_sha256(selection: &Selection, source: &str, expected: &str) -> Result<(), FetchError> {
    if selection.open.is_empty() {
        return Err(FetchError::Invalid(format!(
            "model.sha256 is of one file, but {source} holds several: leave it out, and write a commit into model.revision"
        )));
    }
    let opened = selection
        .files
        .iter()
        .find(|file| file.name == selection.open);
    match opened.and_then(|file| file.sha256.as_ref()) {
        Some(told) if !told.eq_ignore_ascii_case(expected) => Err(FetchError::OtherChecksum {
            what: format!("{} in {source}", selection.open),
            expected: expected.to_owned(),
            told: told.clone(),
        }),
        _ => Ok(()),
    }
}

/// What is left to fetch of files whose sizes are known.
fn missing(files: &[RemoteFile], folder: &Path) -> u64 {
    files
        .iter()
        .filter_map(|file| {
            let there = part::there(&folder.join(&file.name));
            Some(file.size?.saturating_sub(there))
        })
        .sum()
}

/// Fields that this kind of source has no use for.
fn check_fields(
    address: &Address,
    source: &str,
    revision: Option<&str>,
    part: Part<'_>,
) -> Result<(), FetchError> {
    if revision.is_some() && !matches!(address, Address::Hub(_)) {
        return Err(FetchError::Invalid(format!(
            "model.revision is set, but {source} has no revisions: remove it"
        )));
    }
    if matches!(address, Address::Web(_)) && matches!(part, Part::Model(Some(_))) {
        return Err(FetchError::Invalid(format!(
            "model.file is set, but {source} is a file already: remove model.file"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
