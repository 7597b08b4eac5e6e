//! Why a reconcile failed, and whether trying again may help.
use crate::{children::Refusal, guard::Malformed};

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The stored object does not have the resource's form, such as after a downgrade.
    #[error(
        "the resource cannot be read: {0}; correct it with kubectl edit, or apply the CRD of the version that wrote it"
    )]
    Malformed(String),
    /// The API server left out what it always sends.
    #[error("the resource has no {0}")]
    Incomplete(&'static str),
    /// The API server did not accept a child, and says why.
    #[error(transparent)]
    Refused(Refusal),
    /// An earlier resource's child is in the way for a moment more.
    #[error("the {kind} {name} of an earlier resource of this name is still being removed")]
    LeftOver {
        /// The child's kind.
        kind: String,
        /// The child's name.
        name: String,
    },
    /// A child could not be read or written.
    #[error("{verb} {kind} {name}: {source}")]
    Child {
        /// What was tried.
        verb: &'static str,
        /// The child's kind.
        kind: String,
        /// The child's name.
        name: String,
        /// What the client says.
        source: Box<kube::Error>,
    },
    /// The status could not be written.
    #[error("writing the status: {0}")]
    Status(#[source] Box<kube::Error>),
    /// The operator stops before its caches were filled.
    #[error("the caches are gone, because the operator stops")]
    Stopping,
    /// The server's configuration could not be written.
    #[error("writing the server's configuration: {0}")]
    Yaml(String),
    /// An object could not be turned into JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl Error {
    pub(crate) fn malformed(invalid: &Malformed) -> Self {
        Self::Malformed(invalid.error.clone())
    }

    /// Whether the same reconcile may succeed later, without a change of the resource.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Refused(_) | Self::LeftOver { .. } | Self::Child { .. } | Self::Status(_) => true,
            Self::Malformed(_)
            | Self::Incomplete(_)
            | Self::Stopping
            | Self::Yaml(_)
            | Self::Json(_) => false,
        }
    }

    /// Every [`Self::category`].
    pub(crate) const CATEGORIES: [&'static str; 12] = [
        "malformed",
        "refused",
        "stopping",
        "internal",
        "not_found",
        "conflict",
        "throttled",
        "forbidden",
        "invalid",
        "api_server",
        "unreachable",
        "client",
    ];

    /// A label for metrics: few values, never the text of an error.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Refused(_) => "refused",
            Self::LeftOver { .. } => "conflict",
            Self::Child { source, .. } | Self::Status(source) => category_of(source),
            Self::Stopping => "stopping",
            Self::Incomplete(_) | Self::Yaml(_) | Self::Json(_) => "internal",
        }
    }
}

fn category_of(error: &kube::Error) -> &'static str {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => "not_found",
            409 => "conflict",
            429 => "throttled",
            401 | 403 => "forbidden",
            400..500 => "invalid",
            _ => "api_server",
        },
        kube::Error::HyperError(_) | kube::Error::Service(_) => "unreachable",
        _ => "client",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    fn answered(code: u16) -> Error {
        Error::Status(Box::new(kube::Error::Api(Box::new(Status {
            code,
            ..Status::default()
        }))))
    }

    #[test]
    fn answers_of_the_api_server_have_categories_of_their_own() {
        let categories = [404, 409, 429, 403, 422, 500].map(|code| answered(code).category());
        assert!(categories.iter().all(|one| Error::CATEGORIES.contains(one)));
        assert_eq!(
            categories,
            [
                "not_found",
                "conflict",
                "throttled",
                "forbidden",
                "invalid",
                "api_server"
            ]
        );
    }

    #[test]
    fn every_category_is_listed_and_nothing_else() {
        let written = include_str!("error.rs");
        let code = written.split("fn category(").nth(1).unwrap();
        let code = code.split("#[cfg(test)]").next().unwrap();
        let mut found: Vec<_> = code
            .lines()
            .filter_map(|line| line.split_once("=> \"")?.1.split('"').next())
            .collect();
        let mut listed = Error::CATEGORIES.to_vec();
        found.sort_unstable();
        found.dedup();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }

    #[test]
    fn only_what_may_change_by_itself_is_tried_again() {
        assert!(answered(500).is_retryable());
        assert!(!Error::Malformed("a".into()).is_retryable());
    }
}
