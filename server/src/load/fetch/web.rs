//! One file on a web server, and where it is safetensors, what lies beside it.
use super::{
    address::last,
    environment::Environment,
    listing::{DESCRIPTION, FURTHER, Listing, Part, RemoteFile, TOKENIZER},
};
use candlepower_api::names::fetching;
use hyper::header::HeaderValue;
use percent_encoding::percent_decode_str;
use url::Url;

/// The name of a file whose address has none.
const NAMELESS: &str = "model.gguf";

/// A file's address.
#[derive(Debug)]
pub(super) struct Web {
    url: Url,
    pub(super) authorization: Option<HeaderValue>,
    cure: String,
}

impl Web {
    pub(super) fn new(url: Url, environment: &Environment) -> Self {
        Self {
            url,
            authorization: environment
                .bearer(&[fetching::TOKEN])
                .or_else(|| environment.basic()),
            cure: environment.cure("its key token, or username and password"),
        }
    }

    /// What is expected there: nobody lists it.
    pub(super) fn list(&self, part: Part<'_>) -> Listing {
        let name = percent_decode_str(last(self.url.path())).decode_utf8_lossy();
        let name = if name.is_empty() {
            NAMELESS
        } else {
            name.as_ref()
        };
        let mut files = vec![RemoteFile {
            url: Some(self.url.clone()),
            ..RemoteFile::named(name)
        }];
        if name.ends_with(".safetensors") && matches!(part, Part::Model(_)) {
            let beside = |name: &str, optional| RemoteFile {
                url: self.url.join(name).ok(),
                optional,
                ..RemoteFile::named(name)
            };
            files.push(beside(DESCRIPTION, false));
            files.push(beside(TOKENIZER, false));
            files.extend(FURTHER.map(|name| beside(name, true)));
        }
        Listing {
            files,
            version: None,
        }
    }

    pub(super) fn url(&self, file: &RemoteFile) -> Url {
        file.url.clone().unwrap_or_else(|| self.url.clone())
    }

    pub(super) fn cure(&self) -> String {
        self.cure.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(url: &str) -> Vec<(String, String)> {
        let web = Web::new(Url::parse(url).unwrap(), &Environment::new(|_| None));
        let files = web.list(Part::Model(None)).files;
        files
            .into_iter()
            .map(|file| (file.name, file.url.unwrap().to_string()))
            .collect()
    }

    #[test]
    fn a_file_has_the_name_in_its_address() {
        let url = "https://host/a%20b.gguf?signature=x";
        assert_eq!(listed(url), [("a b.gguf".to_owned(), url.to_owned())]);
        assert_eq!(listed("https://host/")[0].0, "model.gguf");
    }

    #[test]
    fn safetensors_come_with_their_neighbours() {
        let files = listed("https://host/m/model.safetensors");
        assert_eq!(files.len(), 6);
        assert_eq!(files[1].1, "https://host/m/config.json");
    }
}
