//! The four kinds of place that a model comes from, behind one face.
use super::{
    address::Address,
    bucket::Bucket,
    environment::Environment,
    error::{Failure, FetchError},
    http::{Http, Wanted},
    hub::Hub,
    listing::{Listing, Part, RemoteFile},
    registry::Registry,
    web::Web,
};
use hyper::{Response, body::Incoming, header::HeaderValue};
use url::Url;

/// A place that a model comes from.
#[derive(Debug)]
pub(super) enum Origin {
    Web(Web),
    Hub(Hub),
    Bucket(Bucket),
    Registry(Registry),
}

impl Origin {
    pub(super) fn new(
        address: Address,
        revision: Option<&str>,
        allow_plain_http: bool,
        environment: &Environment,
    ) -> Result<Self, FetchError> {
        Ok(match address {
            Address::Web(url) => Self::Web(Web::new(url, environment)),
            Address::Hub(repository) => Self::Hub(Hub::new(repository, revision, environment)?),
            Address::Bucket { bucket, key } => Self::Bucket(Bucket::new(bucket, key, environment)?),
            Address::Registry {
                host,
                repository,
                reference,
            } => Self::Registry(Registry::new(
                &host,
                &repository,
                reference,
                allow_plain_http,
                environment,
            )?),
        })
    }

    /// What is there.
    pub(super) async fn list(&self, http: &Http, part: Part<'_>) -> Result<Listing, Failure> {
        match self {
            Self::Web(web) => Ok(web.list(part)),
            Self::Hub(hub) => hub.list(http).await,
            Self::Bucket(bucket) => bucket.list(http).await,
            Self::Registry(registry) => registry.list(http).await,
        }
    }

    /// Where a file is, at this version.
    pub(super) fn url(&self, file: &RemoteFile, version: Option<&str>) -> Url {
        match self {
            Self::Web(web) => web.url(file),
            Self::Hub(hub) => hub.url(file, version),
            Self::Bucket(bucket) => bucket.url(file),
            Self::Registry(registry) => registry.url(file),
        }
    }

    /// Asks for a file, with what opens the door.
    pub(super) async fn get(
        &self,
        http: &Http,
        wanted: &Wanted,
    ) -> Result<Response<Incoming>, Failure> {
        if let Self::Registry(registry) = self {
            return registry.get(http, wanted).await;
        }
        let mut wanted = wanted.clone();
        wanted.authorization = self.authorization();
        http.get(&wanted).await
    }

    /// Whether parts of a file can be had without a word about it: the protocol of buckets has them.
    pub(super) const fn knows_ranges(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// What to do where the door stays shut.
    pub(super) fn cure(&self) -> String {
        match self {
            Self::Web(web) => web.cure(),
            Self::Hub(hub) => hub.cure(),
            Self::Bucket(bucket) => bucket.cure(),
            Self::Registry(registry) => registry.cure(),
        }
    }

    fn authorization(&self) -> Option<HeaderValue> {
        match self {
            Self::Web(web) => web.authorization.clone(),
            Self::Hub(hub) => hub.authorization.clone(),
            Self::Bucket(_) | Self::Registry(_) => None,
        }
    }
}
