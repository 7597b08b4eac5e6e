//! Which cluster and namespace a command speaks of, and the LLMDeployments there.
use super::Error;
use candlepower_api::deployment::LLMDeployment;
use kube::{
    Api, Client, Config, ResourceExt,
    api::ListParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::path::PathBuf;

/// Flags of all commands.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Flags {
    /// Namespace; that of the context where absent.
    #[arg(short, long, global = true, conflicts_with = "all_namespaces")]
    pub(super) namespace: Option<String>,
    /// All namespaces.
    #[arg(short = 'A', long, global = true)]
    all_namespaces: bool,
    /// Context of the kubeconfig; its current one where absent.
    #[arg(long, global = true)]
    context: Option<String>,
    /// The kubeconfig; $KUBECONFIG or ~/.kube/config where absent.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// A cluster, and where in it to look.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    /// The namespace; none means all.
    namespace: Option<String>,
}

impl Flags {
    pub(super) async fn connect(self) -> Result<Connection, Error> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match self.kubeconfig {
            Some(path) => {
                let file = Kubeconfig::read_from(path)?;
                Config::from_custom_kubeconfig(file, &options).await?
            }
            None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
            None => Config::infer().await?,
        };
        let namespace = self.namespace;
        let namespace = namespace.unwrap_or_else(|| config.default_namespace.clone());
        Ok(Connection {
            client: Client::try_from(config)?,
            namespace: (!self.all_namespaces).then_some(namespace),
        })
    }
}

impl Connection {
    /// All LLMDeployments there, by namespace and name.
    pub(super) async fn list(&self) -> Result<Vec<LLMDeployment>, Error> {
        let client = self.client.clone();
        let api: Api<LLMDeployment> = match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut all = match api.list(&ListParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Err(Error::NotInstalled),
            answer => answer?.items,
        };
        all.sort_by_key(|one| (one.namespace(), one.name_any()));
        Ok(all)
    }

    /// The one called `name`, or an error that says which there are instead.
    pub(super) async fn find(&self, name: &str) -> Result<LLMDeployment, Error> {
        pick(self.list().await?, name, &self.place())
    }

    /// The client, and the one namespace to look in.
    pub(super) fn one_namespace(self) -> Result<(Client, String), Error> {
        let namespace = self.namespace.ok_or_else(|| {
            Error::Other("name one namespace with --namespace instead of all".to_owned())
        })?;
        Ok((self.client, namespace))
    }

    /// Where it looks, in words.
    pub(super) fn place(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("namespace {namespace}"),
            None => "any namespace".to_owned(),
        }
    }
}

fn pick(all: Vec<LLMDeployment>, name: &str, place: &str) -> Result<LLMDeployment, Error> {
    let names: Vec<_> = all.iter().map(ResourceExt::name_any).collect();
    let mut found: Vec<_> = all.into_iter().filter(|d| d.name_any() == name).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(_), false) => Err(Error::Other(format!(
            "several namespaces have an LLMDeployment {name}; choose one with --namespace"
        ))),
        (None, _) => Err(Error::NotFound {
            name: name.to_owned(),
            place: place.to_owned(),
            there: if names.is_empty() {
                "none".to_owned()
            } else {
                names.join(", ")
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::testing::deployment;
    use serde_json::Value;

    #[test]
    fn a_name_that_is_not_there_is_answered_with_those_that_are() {
        let error = pick(
            vec![deployment("team", "tiny", &Value::Null)],
            "tinny",
            "namespace team",
        );
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("no LLMDeployment tinny in namespace team; there: tiny"),
            "{error}"
        );
    }

    #[test]
    fn a_name_in_two_namespaces_asks_for_one_of_them() {
        let both = ["a", "b"].map(|namespace| deployment(namespace, "tiny", &Value::Null));
        let error = pick(both.to_vec(), "tiny", "any namespace").unwrap_err();
        assert!(error.to_string().contains("--namespace"), "{error}");
    }
}
