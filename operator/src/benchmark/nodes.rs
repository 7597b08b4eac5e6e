//! What the nodes are that a target's pods run on, for the report's hardware: the load generator may not read them, and
//! mostly runs on another one.
use crate::{
    deployment::{GPU, GPU_PRODUCT},
    watches::Pod,
};
use candlepower_api::{
    benchmark::job::NodeFacts,
    value::{ByteSize, CpuQuantity},
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{ApiResource, ListParams},
    core::{NotUsed, Object},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, time::timeout};

/// A kernel may be replaced, and labels may be set, but not while a benchmark runs.
const LIFETIME: Duration = Duration::from_secs(600);
/// A right that is missing may be given soon.
const WHILE_UNTOLD: Duration = Duration::from_secs(60);
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why it is not known what a node is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Untold {
    /// The operator has no right to look.
    #[error(
        "the operator may not read the nodes of the target's pods: allow its service account the verb list on nodes by a ClusterRole"
    )]
    Forbidden,
    /// There is no such node any more.
    #[error("a node of the target's pods is gone")]
    Gone,
    /// The API server does not answer.
    #[error("the API server does not say what the nodes of the target's pods are")]
    Silence,
}

/// What is known of nodes now, by their names.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Nodes(BTreeMap<String, Result<NodeFacts, Untold>>);

impl Nodes {
    /// Those of these names, each once, and why some of them are missing.
    pub(super) fn of<'a>(
        &self,
        names: impl Iterator<Item = &'a str>,
    ) -> (Vec<NodeFacts>, Option<String>) {
        let names: BTreeSet<_> = names.collect();
        let mut known = Vec::new();
        let mut missing = None;
        for answer in names.into_iter().filter_map(|name| self.0.get(name)) {
            match answer {
                Ok(facts) => known.push(facts.clone()),
                Err(why) => missing = Some(why.to_string()),
            }
        }
        (known, missing)
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, Result<NodeFacts, Untold>); N]> for Nodes {
    fn from(nodes: [(&str, Result<NodeFacts, Untold>); N]) -> Self {
        Self(nodes.map(|(name, answer)| (name.to_owned(), answer)).into())
    }
}

/// Asks for nodes, and remembers what was said, so that a benchmark that tells of its progress asks once.
#[derive(Debug, Default)]
pub(super) struct NodeReader(Mutex<HashMap<String, Said>>);

#[derive(Clone, Debug)]
struct Said {
    answer: Result<NodeFacts, Untold>,
    until: Instant,
}

impl NodeReader {
    /// The nodes that `pods` run on.
    pub(super) async fn of_pods<'a>(
        &self,
        pods: impl Iterator<Item = &'a Arc<Pod>>,
        client: &Client,
    ) -> Nodes {
        let names: BTreeSet<_> = pods.filter_map(|pod| pod.node.as_deref()).collect();
        let mut nodes = BTreeMap::new();
        for name in names {
            nodes.insert(name.to_owned(), self.facts(name, client).await);
        }
        Nodes(nodes)
    }

    async fn facts(&self, name: &str, client: &Client) -> Result<NodeFacts, Untold> {
        // It is held while the API server is asked, so that of several benchmarks one asks.
        let mut said = self.0.lock().await;
        let now = Instant::now();
        said.retain(|_, said| now < said.until);
        if let Some(known) = said.get(name) {
            return known.answer.clone();
        }
        let asked = timeout(PATIENCE, ask(name, client)).await;
        let answer = asked.unwrap_or(Err(Untold::Silence));
        let lifetime = if answer.is_ok() {
            LIFETIME
        } else {
            WHILE_UNTOLD
        };
        let kept = Said {
            answer: answer.clone(),
            until: Instant::now() + lifetime,
        };
        said.insert(name.to_owned(), kept);
        answer
    }
}

/// The part of a node that is read: the whole has the names of hundreds of images.
type Described = Object<NotUsed, Status>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    capacity: BTreeMap<String, String>,
    node_info: Info,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Info {
    os_image: String,
    kernel_version: String,
    architecture: String,
    container_runtime_version: String,
}

/// By a list of the one node, which needs no right beyond that to see which GPUs there are.
async fn ask(name: &str, client: &Client) -> Result<NodeFacts, Untold> {
    let kind = ApiResource::erase::<Node>(&());
    let nodes: Api<Described> = Api::all_with(client.clone(), &kind);
    let only = ListParams::default().fields(&format!("metadata.name={name}"));
    let list = nodes.list(&only).await.map_err(|error| untold(&error))?;
    let node = list.items.into_iter().next().ok_or(Untold::Gone)?;
    Ok(described(name, node))
}

fn untold(error: &kube::Error) -> Untold {
    tracing::debug!(%error, "the target's nodes are not known");
    match error {
        kube::Error::Api(status) if status.code == 403 => Untold::Forbidden,
        _ => Untold::Silence,
    }
}

fn described(name: &str, node: Described) -> NodeFacts {
    let labels = node.metadata.labels.unwrap_or_default();
    let Status {
        capacity,
        node_info,
    } = node.status.unwrap_or_default();
    let told = |text: String| (!text.is_empty()).then_some(text);
    let quantity = |resource: &str| capacity.get(resource).map(String::as_str);
    let cpu = quantity("cpu").and_then(|text| text.parse::<CpuQuantity>().ok());
    let memory = quantity("memory").and_then(|text| text.parse::<ByteSize>().ok());
    let gpus = quantity(GPU).and_then(|text| text.parse().ok());
    NodeFacts {
        name: name.to_owned(),
        os_image: told(node_info.os_image),
        kernel_version: told(node_info.kernel_version),
        architecture: told(node_info.architecture),
        container_runtime: told(node_info.container_runtime_version),
        cpu_millicores: cpu.map(CpuQuantity::millicores),
        memory_bytes: memory.map(ByteSize::bytes),
        gpus: gpus.unwrap_or_default(),
        gpu_product: labels.get(GPU_PRODUCT).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{benchmark::testing, deployment::testing::api_server};
    use axum::http::StatusCode;
    use serde_json::{Value, json};

    fn list(nodes: &[Value]) -> (StatusCode, String) {
        let list = json!({
            "kind": "NodeList", "apiVersion": "v1", "metadata": {"resourceVersion": "1"},
            "items": nodes,
        });
        (StatusCode::OK, list.to_string())
    }

    fn node() -> Value {
        json!({
            "metadata": {"name": "node-1", "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
            "spec": {"podCIDR": "10.0.0.0/24"},
            "status": {
                "capacity": {
                    "cpu": "16", "memory": "65536Ki", "nvidia.com/gpu": "2", "pods": "110",
                },
                "nodeInfo": {
                    "osImage": "Debian GNU/Linux 12 (bookworm)", "kernelVersion": "6.1.0-18-amd64",
                    "architecture": "amd64", "containerRuntimeVersion": "containerd://2.1.4",
                    "machineID": "x",
                },
                "images": [{"names": ["a", "b"]}],
            },
        })
    }

    async fn read(answer: (StatusCode, String)) -> (Vec<NodeFacts>, Option<String>) {
        let (client, _) = api_server(move |_| answer.clone());
        let pod = testing::serving_pod("tiny-1", "10.0.0.7");
        let nodes = NodeReader::default()
            .of_pods([&pod].into_iter(), &client)
            .await;
        nodes.of(["node-1"].into_iter())
    }

    #[tokio::test]
    async fn a_node_is_what_its_object_says() {
        let (known, missing) = read(list(&[node()])).await;
        let expected = NodeFacts {
            name: "node-1".into(),
            os_image: Some("Debian GNU/Linux 12 (bookworm)".into()),
            kernel_version: Some("6.1.0-18-amd64".into()),
            architecture: Some("amd64".into()),
            container_runtime: Some("containerd://2.1.4".into()),
            cpu_millicores: Some(16_000),
            memory_bytes: Some(64 << 20),
            gpus: 2,
            gpu_product: Some("NVIDIA-L4".into()),
        };
        assert_eq!((known, missing), (vec![expected], None));
    }

    #[tokio::test]
    async fn what_a_node_does_not_say_is_absent() {
        let (known, _) = read(list(&[json!({"metadata": {"name": "node-1"}, "spec": {}})])).await;
        let bare = NodeFacts {
            name: "node-1".into(),
            ..NodeFacts::default()
        };
        assert_eq!(known, [bare]);
    }

    #[tokio::test]
    async fn a_node_that_may_not_be_read_is_missing_with_the_cure() {
        let refused = |code: u16| {
            let status = StatusCode::from_u16(code).unwrap();
            (status, json!({"code": code}).to_string())
        };
        for (answer, why) in [
            (refused(403), "the verb list on nodes"),
            (refused(500), "does not say"),
            (list(&[]), "is gone"),
        ] {
            let (known, missing) = read(answer).await;
            assert_eq!(known, []);
            let missing = missing.unwrap();
            assert!(missing.contains(why), "{missing}");
        }
    }

    #[tokio::test]
    async fn each_node_is_asked_for_once_and_by_its_name_alone() {
        let (client, requests) = api_server(|_| list(&[node()]));
        let reader = NodeReader::default();
        let pods = ["tiny-1", "tiny-2"].map(|name| testing::serving_pod(name, "10.0.0.7"));
        for _ in 0..3 {
            reader.of_pods(pods.iter(), &client).await;
        }
        let asked = requests.lock().unwrap();
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(
            asked[0].starts_with("/api/v1/nodes?")
                && asked[0].contains("fieldSelector=metadata.name%3Dnode-1"),
            "{asked:?}"
        );
    }
}
