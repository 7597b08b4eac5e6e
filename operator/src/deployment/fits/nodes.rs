//! Which GPUs nodes have, by the labels that NVIDIA's GPU feature discovery puts on them. The API server is asked only where
//! a resource wants GPUs that has no pods yet, and what it said is remembered.
use super::{
    NODES_LIFETIME, PATIENCE,
    gpus::{Gpu, Gpus, MEMORY},
};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client,
    api::ListParams,
    core::{Expression, Selector},
};
use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};
use tokio::{sync::Mutex, time::timeout};

/// What is missing (labels, a right) may have been forgotten, and come soon.
const WHILE_UNTOLD: Duration = Duration::from_secs(60);
/// Nodes in one answer: each has some KiB of labels and annotations.
const PAGE: u32 = 100;

/// Why it is not known which GPUs there are.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Untold {
    /// The operator has no right to look.
    #[error(
        "the operator may not list nodes, whose labels say how much memory their GPUs have: allow its service account the verb list on nodes by a ClusterRole"
    )]
    Forbidden,
    /// No node says it.
    #[error(
        "no node that spec.pod.nodeSelector allows says in a label {} how many MiB its GPUs have: install NVIDIA's GPU feature discovery, which sets it, or set it by hand",
        MEMORY
    )]
    Unlabelled,
    /// The API server does not answer.
    #[error("the API server does not say which GPUs the nodes have")]
    Silence,
}

/// What the API server said, by the selectors that it was asked with.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<HashMap<String, Said>>);

#[derive(Debug)]
struct Said {
    answer: Result<Gpus, Untold>,
    until: Instant,
}

impl Nodes {
    /// The GPUs of the nodes that have these labels.
    pub(super) async fn gpus(
        &self,
        labels: &BTreeMap<String, String>,
        client: &Client,
    ) -> Result<Gpus, Untold> {
        let selector = selector(labels);
        // It is held while the API server is asked, so that of a thousand resources one asks.
        let mut said = self.0.lock().await;
        let now = Instant::now();
        said.retain(|_, said| now < said.until);
        let key = selector.to_string();
        if let Some(known) = said.get(&key) {
            return known.answer.clone();
        }
        let asked = timeout(PATIENCE, ask(client, &selector)).await;
        let answer = asked.unwrap_or(Err(Untold::Silence));
        let lifetime = if answer.is_ok() {
            NODES_LIFETIME
        } else {
            WHILE_UNTOLD
        };
        let until = Instant::now() + lifetime;
        let kept = answer.clone();
        said.insert(
            key,
            Said {
                answer: kept,
                until,
            },
        );
        answer
    }
}

/// Of the nodes with these labels, those that say how much memory their GPUs have.
fn selector(labels: &BTreeMap<String, String>) -> Selector {
    let equal = |(name, value): (&String, &String)| Expression::Equal(name.clone(), value.clone());
    let labelled = Expression::Exists(MEMORY.to_owned());
    labels.iter().map(equal).chain([labelled]).collect()
}

async fn ask(client: &Client, selector: &Selector) -> Result<Gpus, Untold> {
    let nodes: Api<Node> = Api::all(client.clone());
    let mut page = ListParams::default().labels_from(selector).limit(PAGE);
    let mut found = Vec::new();
    loop {
        let list = nodes
            .list_metadata(&page)
            .await
            .map_err(|error| untold(&error))?;
        let labels = list
            .items
            .iter()
            .filter_map(|it| it.metadata.labels.as_ref());
        for gpu in labels.filter_map(Gpu::of_node) {
            if !found.contains(&gpu) {
                found.push(gpu);
            }
        }
        match list.metadata.continue_.as_deref() {
            None | Some("") => break,
            Some(token) => page = page.continue_token(token),
        }
    }
    Gpus::new(found).ok_or(Untold::Unlabelled)
}

fn untold(error: &kube::Error) -> Untold {
    tracing::debug!(%error, "the nodes' GPUs are not known");
    match error {
        kube::Error::Api(status) if status.code == 403 => Untold::Forbidden,
        _ => Untold::Silence,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::testing::api_server;
    use axum::http::StatusCode;
    use serde_json::{Value, json};

    fn node(labels: &Value) -> Value {
        json!({"metadata": {"name": "a", "labels": labels}})
    }

    fn list(token: &str, nodes: &[Value]) -> (StatusCode, String) {
        let list = json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"resourceVersion": "1", "continue": token}, "items": nodes,
        });
        (StatusCode::OK, list.to_string())
    }

    fn gpu_node(memory: &str, product: &str) -> Value {
        node(&json!({"nvidia.com/gpu.memory": memory, "nvidia.com/gpu.product": product}))
    }

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        labels.iter().map(label).collect()
    }

    #[tokio::test]
    async fn the_nodes_that_may_be_chosen_are_asked_for_once() {
        let (client, requests) = api_server(|_| list("", &[gpu_node("23034", "NVIDIA-L4")]));
        let nodes = Nodes::default();
        let selected = labels(&[("pool", "gpus"), ("zone", "a")]);
        for _ in 0..3 {
            let gpus = nodes.gpus(&selected, &client).await.unwrap();
            assert!(format!("{gpus:?}").contains("NVIDIA-L4"), "{gpus:?}");
        }
        let any = nodes.gpus(&BTreeMap::new(), &client).await;
        assert!(any.is_ok());
        let asked = requests.lock().unwrap();
        let selectors = [
            "pool%3Dgpus%2Czone%3Da%2Cnvidia.com%2Fgpu.memory",
            "nvidia.com%2Fgpu.memory",
        ];
        assert_eq!(asked.len(), selectors.len(), "{asked:?}");
        for (request, selector) in asked.iter().zip(selectors) {
            assert!(request.starts_with("/api/v1/nodes?"), "{request}");
            let wanted = format!("labelSelector={selector}");
            assert!(
                request.split(['?', '&']).any(|part| part == wanted),
                "{request}"
            );
        }
    }

    #[tokio::test]
    async fn all_pages_of_the_list_are_read() {
        let (client, _) = api_server(|request| {
            if request.contains("continue=next") {
                list("", &[gpu_node("81920", "NVIDIA-A100-SXM4-80GB")])
            } else {
                list(
                    "next",
                    &[
                        gpu_node("23034", "NVIDIA-L4"),
                        gpu_node("23034", "NVIDIA-L4"),
                    ],
                )
            }
        });
        let gpus = Nodes::default().gpus(&BTreeMap::new(), &client).await;
        let kinds = [("81920", "NVIDIA-A100-SXM4-80GB"), ("23034", "NVIDIA-L4")];
        let kinds = kinds.map(|(memory, product)| {
            let both = [(MEMORY, memory), ("nvidia.com/gpu.product", product)];
            Gpu::of_node(&labels(&both)).unwrap()
        });
        assert_eq!(gpus, Ok(Gpus::new(kinds.into()).unwrap()));
    }

    #[tokio::test]
    async fn what_is_missing_is_named_with_the_cure() {
        let refused = |code: u16| {
            let status = StatusCode::from_u16(code).unwrap();
            (status, json!({"code": code}).to_string())
        };
        for (answer, expected, words) in [
            (list("", &[]), Untold::Unlabelled, "GPU feature discovery"),
            (
                list("", &[gpu_node("much", "")]),
                Untold::Unlabelled,
                "nvidia.com/gpu.memory",
            ),
            (refused(403), Untold::Forbidden, "the verb list on nodes"),
            (refused(500), Untold::Silence, "does not say"),
        ] {
            let (client, _) = api_server(move |_| answer.clone());
            let said = Nodes::default().gpus(&BTreeMap::new(), &client).await;
            let told = said.unwrap_err();
            assert_eq!(told, expected);
            assert!(told.to_string().contains(words), "{told}");
        }
    }
}
