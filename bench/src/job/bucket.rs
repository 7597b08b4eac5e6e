//! The files of a round in a bucket of S3's protocol.
use candlepower_api::benchmark::{
    S3Records,
    job::{S3_KEYS, S3_TOKEN_IN_SECRET},
};
use http_body_util::BodyExt;
use hyper::{
    Request, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rusty_s3::{Credentials, S3Action, UrlStyle};
use std::{
    fmt::Display,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    pin::Pin,
    str::FromStr,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{sleep, timeout};

/// How long a signature is good for, and an upload may take.
const UPLOAD: Duration = Duration::from_secs(15 * 60);
/// Pauses before an upload is tried again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];
/// How much of a file is in memory at once.
const PIECE: usize = 64 << 10;

/// Why files are not in the bucket. Signed addresses open the bucket, and stay out of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The job was made without its keys.
    #[error("the variable {0} is not set; the Secret of records.s3.credentials should have it")]
    Key(&'static str),
    /// Nothing can be sent there.
    #[error(
        "records.s3.endpoint is no address ({0}); write one such as https://minio.storage:9000"
    )]
    Endpoint(String),
    /// There is nothing to trust servers by.
    #[error("the certificates of this image cannot be read: {0}")]
    Certificates(io::Error),
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Its path.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// No answer came.
    #[error("{object} in the bucket {bucket}: {problem}")]
    Silent {
        /// The bucket's name.
        bucket: String,
        /// The object's.
        object: String,
        /// What happened.
        problem: String,
    },
    /// It was refused.
    #[error("{object} in the bucket {bucket}: the server answered {status}: {body}")]
    Refused {
        /// The bucket's name.
        bucket: String,
        /// The object's.
        object: String,
        /// The code.
        status: StatusCode,
        /// The beginning of the answer.
        body: String,
    },
}

impl Error {
    /// Whether the same upload may succeed in a moment.
    fn is_passing(&self) -> bool {
        match self {
            Self::Silent { .. } => true,
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            _ => false,
        }
    }
}

/// A bucket that files can be put into.
pub(super) struct Bucket {
    address: rusty_s3::Bucket,
    credentials: Credentials,
    prefix: String,
    client: Client<HttpsConnector<HttpConnector>, Pieces>,
}

impl Bucket {
    /// With the keys that `variable` gives, by their names.
    pub(super) fn open(
        records: &S3Records,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let [key, secret, token] = S3_KEYS.map(|(name, in_secret)| match variable(name) {
            None if in_secret != S3_TOKEN_IN_SECRET => Err(Error::Key(name)),
            found => Ok(found.unwrap_or_default()),
        });
        let (key, secret, token) = (key?, secret?, token?);
        let credentials = if token.is_empty() {
            Credentials::new(key, secret)
        } else {
            Credentials::new_with_token(key, secret, token)
        };
        let amazons = || format!("https://s3.{}.amazonaws.com", records.region);
        // Other servers rarely have a name for each bucket; names with dots have no certificate.
        let style = match &records.endpoint {
            None if !records.bucket.contains('.') => UrlStyle::VirtualHost,
            _ => UrlStyle::Path,
        };
        let endpoint = parse(&records.endpoint.clone().unwrap_or_else(amazons))?;
        let (name, region) = (records.bucket.clone(), records.region.clone());
        let bucket = rusty_s3::Bucket::new(endpoint, style, name, region);
        let connector = HttpsConnectorBuilder::new()
            .with_native_roots()
            .map_err(Error::Certificates)?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            address: bucket.map_err(|error| Error::Endpoint(error.to_string()))?,
            credentials,
            prefix: records.prefix.clone(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Puts all files of `folder` into the bucket, as `PREFIX` `name`/`FILE`.
    pub(super) async fn put(&self, folder: &Path, name: &str) -> Result<(), Error> {
        let unreadable = |source| Error::File {
            path: folder.to_owned(),
            source,
        };
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let object = format!("{}{name}/{file}", self.prefix);
            self.put_patiently(&path, &object).await?;
        }
        Ok(())
    }

    async fn put_patiently(&self, path: &Path, object: &str) -> Result<(), Error> {
        for pause in PAUSES {
            match self.put_once(path, object).await {
                Err(error) if error.is_passing() => {
                    eprintln!("warning: {error}; trying again in {} s", pause.as_secs());
                    sleep(pause).await;
                }
                result => return result,
            }
        }
        self.put_once(path, object).await
    }

    async fn put_once(&self, path: &Path, object: &str) -> Result<(), Error> {
        let silent = |problem: String| Error::Silent {
            bucket: self.address.name().to_owned(),
            object: object.to_owned(),
            problem,
        };
        let pieces = Pieces::of(path).map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })?;
        let action = self.address.put_object(Some(&self.credentials), object);
        let request = Request::put(action.sign(UPLOAD).as_str()).body(pieces);
        let request = request.map_err(|error| silent(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await;
            let answer = answer.map_err(|error| silent(causes(&error)))?;
            let status = answer.status();
            let body = answer.into_body().collect().await;
            let body = body.map_err(|error| silent(causes(&error)))?.to_bytes();
            if status.is_success() {
                return Ok(());
            }
            Err(Error::Refused {
                bucket: self.address.name().to_owned(),
                object: object.to_owned(),
                status,
                body: String::from_utf8_lossy(&body).chars().take(300).collect(),
            })
        };
        let late = |_| silent(format!("not within {} minutes", UPLOAD.as_secs() / 60));
        timeout(UPLOAD, exchange).await.map_err(late)?
    }
}

/// An error with all that led to it; the client's own text is only that something failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn parse<T: FromStr<Err: Display>>(address: &str) -> Result<T, Error> {
    let parsed = address.parse();
    parsed.map_err(|error: T::Err| Error::Endpoint(error.to_string()))
}

/// A file, read piece by piece: records may be larger than the pod's memory.
struct Pieces {
    file: File,
    left: u64,
}

impl Pieces {
    fn of(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        Ok(Self { file, left })
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut piece = vec![0; PIECE];
        Poll::Ready(match self.file.read(&mut piece) {
            Ok(0) => None,
            Ok(length) => {
                piece.truncate(length);
                self.left = self.left.saturating_sub(length as u64);
                Some(Ok(Frame::data(piece.into())))
            }
            Err(error) => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests;
