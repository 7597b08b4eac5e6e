//! Objects in a bucket of S3's protocol, by signed addresses.
use super::{
    address::last,
    environment::Environment,
    error::{Failure, FetchError},
    http::{Http, Wanted, check, shown},
    listing::{Listing, RemoteFile},
};
use candlepower_api::names::fetching;
use rusty_s3::{Credentials, S3Action, UrlStyle, actions::ListObjectsV2};
use std::time::Duration;
use url::Url;

/// How long a signature is good for; each attempt makes one anew.
const SIGNED: Duration = Duration::from_secs(60 * 60);
/// Where buckets are, unless told otherwise.
const REGION: &str = "us-east-1";

/// An object, or a folder of them.
#[derive(Debug)]
pub(super) struct Bucket {
    address: rusty_s3::Bucket,
    credentials: Option<Credentials>,
    key: String,
    cure: String,
}

impl Bucket {
    pub(super) fn new(
        bucket: String,
        key: String,
        environment: &Environment,
    ) -> Result<Self, FetchError> {
        let region = environment
            .get(fetching::AWS_REGION)
            .or_else(|| environment.get(fetching::AWS_DEFAULT_REGION))
            .unwrap_or_else(|| REGION.to_owned());
        let endpoint = environment.get(fetching::AWS_ENDPOINT_URL);
        // Other servers rarely have a name for each bucket; names with dots have no certificate.
        let style = match &endpoint {
            None if !bucket.contains('.') => UrlStyle::VirtualHost,
            _ => UrlStyle::Path,
        };
        let endpoint = endpoint.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let invalid = |problem: String| {
            FetchError::Invalid(format!(
                "{} is {endpoint}, which cannot be used ({problem}): write an address such as https://minio.storage:9000",
                fetching::AWS_ENDPOINT_URL
            ))
        };
        let url = Url::parse(&endpoint).map_err(|error| invalid(error.to_string()))?;
        let address = rusty_s3::Bucket::new(url, style, bucket, region)
            .map_err(|error| invalid(error.to_string()))?;
        let cure = environment.cure(&format!(
            "its keys {} and {}, and {} where the region is another",
            fetching::AWS_ACCESS_KEY_ID,
            fetching::AWS_SECRET_ACCESS_KEY,
            fetching::AWS_REGION
        ));
        Ok(Self {
            address,
            credentials: credentials(environment)?,
            key,
            cure: format!(
                "{cure}; check the name, too: without the right to list, what does not exist is refused"
            ),
        })
    }

    /// The object, or all in the folder.
    pub(super) async fn list(&self, http: &Http) -> Result<Listing, Failure> {
        if [".gguf", ".safetensors", ".json"]
            .iter()
            .any(|extension| self.key.ends_with(extension))
        {
            return Ok(Listing {
                files: vec![RemoteFile::named(last(&self.key))],
                version: None,
            });
        }
        let folder = self.folder();
        let mut files = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let mut action = self.address.list_objects_v2(self.credentials.as_ref());
            action.with_prefix(folder.as_str());
            if let Some(token) = &token {
                action.with_continuation_token(token.clone());
            }
            let url = action.sign(SIGNED);
            let answer = http.get(&Wanted::new(url.clone(), None)).await?;
            let answer = check(answer, &url, || self.cure())?;
            let text = http.text(answer).await?;
            let page = ListObjectsV2::parse_response(&text).map_err(|error| {
                Failure::passing(format!(
                    "{} does not answer as S3 does: {error}",
                    shown(&url)
                ))
            })?;
            files.extend(page.contents.into_iter().filter_map(|object| {
                let name = object.key.strip_prefix(&folder)?;
                let is_file = !name.is_empty() && !name.ends_with('/');
                is_file.then(|| RemoteFile {
                    size: object.size,
                    ..RemoteFile::named(name)
                })
            }));
            token = page.next_continuation_token;
            if token.is_none() {
                break;
            }
        }
        Ok(Listing {
            files,
            version: None,
        })
    }

    /// An address that is good for a while.
    pub(super) fn url(&self, file: &RemoteFile) -> Url {
        let key = match self.key.strip_suffix(&file.name) {
            Some(folder) if folder.is_empty() || folder.ends_with('/') => self.key.clone(),
            _ => format!("{}{}", self.folder(), file.name),
        };
        self.address
            .get_object(self.credentials.as_ref(), &key)
            .sign(SIGNED)
    }

    pub(super) fn cure(&self) -> String {
        self.cure.clone()
    }

    fn folder(&self) -> String {
        format!("{}/", self.key.trim_end_matches('/'))
    }
}

/// What signs; without it only what everybody may read is read.
fn credentials(environment: &Environment) -> Result<Option<Credentials>, FetchError> {
    let key = environment.get(fetching::AWS_ACCESS_KEY_ID);
    let secret = environment.get(fetching::AWS_SECRET_ACCESS_KEY);
    match (key, secret) {
        (Some(key), Some(secret)) => {
            let token = environment.get(fetching::AWS_SESSION_TOKEN);
            Ok(Some(match token {
                Some(token) => Credentials::new_with_token(key, secret, token),
                None => Credentials::new(key, secret),
            }))
        }
        (None, None) => Ok(None),
        _ => Err(FetchError::Invalid(format!(
            "of {} and {} only one is set: {}",
            fetching::AWS_ACCESS_KEY_ID,
            fetching::AWS_SECRET_ACCESS_KEY,
            environment.cure("both keys")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(key: &str, variables: &'static [(&str, &str)]) -> Result<Bucket, FetchError> {
        let environment = Environment::new(move |wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        });
        Bucket::new("models".into(), key.into(), &environment)
    }

    #[test]
    fn amazon_has_a_host_for_each_bucket_and_others_a_path() {
        let file = RemoteFile::named("a.gguf");
        let url = bucket("x/a.gguf", &[]).unwrap().url(&file);
        assert_eq!(
            url.as_str(),
            "https://models.s3.us-east-1.amazonaws.com/x/a.gguf"
        );
        let other = [
            ("AWS_ENDPOINT_URL", "http://minio:9000"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "key"),
        ];
        let other: &'static [_] = Box::leak(Box::new(other));
        let url = bucket("x", other).unwrap().url(&file);
        assert_eq!(shown(&url), "http://minio:9000/models/x/a.gguf");
        assert!(url.query().unwrap().contains("X-Amz-Signature"));
    }

    #[test]
    fn half_a_key_is_refused() {
        let half: &'static [_] = &[("AWS_ACCESS_KEY_ID", "id")];
        let message = bucket("x", half).unwrap_err().to_string();
        assert!(message.contains("AWS_SECRET_ACCESS_KEY"), "{message}");
    }
}
