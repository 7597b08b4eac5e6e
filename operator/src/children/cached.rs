//! A child as caches keep it: who it is, and of the rest as little as bears to be held a thousand times.
//!
//! What an object says is kept as text until it was found to be what is wanted of it; from then on its digest does. Where
//! something else is wanted, the hash in its annotation differs, and where somebody writes to it, its digest.
use super::{compare::contains, ownership::Identity, workload::Workload};
use crate::{
    sorted::sorted,
    watches::{Entry, Kept},
};
use candlepower_api::{benchmark::job, names::labels, value::read_json};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

/// A child as caches keep it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Cached {
    pub(crate) identity: Identity,
    /// The LLMDeployment whose label it carries.
    pub(crate) deployment: Option<Box<str>>,
    /// The LLMBenchmark whose label it carries.
    pub(crate) benchmark: Option<Box<str>>,
    /// The hash of what was wanted when it was written last.
    pub(super) applied: Option<Box<str>>,
    /// What a benchmark's job has written for the operator.
    pub(crate) mail: BTreeMap<String, String>,
    /// Of a Deployment, what is read of it.
    workload: Option<Box<Workload>>,
    digest: u64,
    content: Content,
}

/// What an object says, as JSON; `None` once that is what is wanted of it.
type Content = Arc<Mutex<Option<Box<str>>>>;

/// What changes without anybody writing to an object, or is about writing itself.
const UNSAID: [&str; 3] = ["managedFields", "resourceVersion", "generation"];

impl Kept for Cached {
    fn of(mut object: Value) -> Result<Self, String> {
        let status = object.as_object_mut().and_then(|it| it.remove("status"));
        strip_type(&mut object);
        let workload = Workload::of(&object, status.as_ref())?;
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let mut metadata = match metadata {
            Some(metadata) => who(metadata)?,
            None => ObjectMeta::default(),
        };
        let labels = metadata.labels.take().unwrap_or_default();
        let annotations = metadata.annotations.take().unwrap_or_default();
        let named = |name| labels.get(name).map(|value: &String| value.as_str().into());
        let benchmark = named(labels::LLM_BENCHMARK);
        let mail = match &benchmark {
            Some(_) => mail(&object),
            None => BTreeMap::new(),
        };
        shorten(&mut object);
        let text = sorted(object).to_string();
        let mut digest = DefaultHasher::new();
        text.hash(&mut digest);
        Ok(Self {
            identity: Identity::of(&metadata),
            deployment: named(labels::LLM_DEPLOYMENT),
            benchmark,
            applied: annotations
                .get(labels::APPLIED_HASH)
                .map(|hash| hash.as_str().into()),
            mail,
            workload: workload.map(Box::new),
            digest: digest.finish(),
            content: Arc::new(Mutex::new(Some(text.into()))),
        })
    }
}

impl Entry for Cached {
    fn namespace(&self) -> &str {
        &self.identity.namespace
    }

    fn name(&self) -> &str {
        &self.identity.name
    }

    fn deployment(&self) -> Option<&str> {
        self.deployment.as_deref()
    }

    /// Where only the status has changed, what was found of the rest still holds.
    fn inherit(&mut self, before: &Self) {
        if before.digest == self.digest {
            self.content = before.content.clone();
        }
    }
}

impl TryFrom<Value> for Cached {
    type Error = String;

    fn try_from(object: Value) -> Result<Self, String> {
        Self::of(object)
    }
}

impl Cached {
    /// What is read of a Deployment; of another kind, what an empty one would say.
    pub(crate) fn workload(&self) -> Cow<'_, Workload> {
        match &self.workload {
            Some(workload) => Cow::Borrowed(workload),
            None => Cow::Owned(Workload::default()),
        }
    }

    /// A number that changes with everything that somebody writes to the object, its status apart.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    /// Whether it says all that is wanted of it.
    pub(super) fn says(&self, wanted: &Value) -> serde_json::Result<bool> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(text) = &*content else {
            return Ok(true);
        };
        let mut wanted = if is_immutable(wanted) {
            only_metadata(wanted)
        } else {
            wanted.clone()
        };
        strip_type(&mut wanted);
        shorten(&mut wanted);
        let says = contains(&serde_json::from_str(text)?, &wanted);
        if says {
            *content = None;
        }
        Ok(says)
    }
}

/// Whether Kubernetes lets nobody change what the object says, its metadata apart.
pub(super) fn is_immutable(wanted: &Value) -> bool {
    wanted.get("immutable") == Some(&Value::Bool(true))
}

fn only_metadata(object: &Value) -> Value {
    let metadata = object.get("metadata").cloned();
    Value::Object(
        metadata
            .map(|it| ("metadata".to_owned(), it))
            .into_iter()
            .collect(),
    )
}

/// The objects of a list do not say of which kind they are, and those of a watch do.
fn strip_type(object: &mut Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
}

/// Who an object is. What it does not say is removed from `metadata`.
fn who(metadata: &mut Map<String, Value>) -> Result<ObjectMeta, String> {
    // Nobody reads these, and they are half of an object.
    metadata.remove("managedFields");
    let who = read_json(&Value::Object(metadata.clone()))?;
    for unsaid in UNSAID {
        metadata.remove(unsaid);
    }
    Ok(who)
}

fn mail(object: &Value) -> BTreeMap<String, String> {
    let data = object.get("data").and_then(Value::as_object);
    data.into_iter()
        .flatten()
        .filter(|(key, _)| job::READ_BY_OPERATOR.contains(&key.as_str()))
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// Longer values are not kept in memory: those of a thousand resources would fill it.
const LONGEST_VALUE: usize = 128;

/// Keeps of long values only what tells whether they changed.
fn shorten(object: &mut Value) {
    let data = object.get_mut("data").and_then(Value::as_object_mut);
    for (_, value) in data.into_iter().flatten() {
        if let Some(text) = value.as_str().filter(|text| text.len() > LONGEST_VALUE) {
            *value = digest(text).into();
        }
    }
}

fn digest(text: &str) -> String {
    let mut digest = "sha256:".to_owned();
    for byte in Sha256::digest(text) {
        // Writing to a string cannot fail.
        let _ = write!(digest, "{byte:02x}");
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn cached(object: Value) -> Cached {
        serde_json::from_value(object).unwrap()
    }

    fn keeps_content(object: &Cached) -> bool {
        object.content.lock().unwrap().is_some()
    }

    #[test]
    fn what_an_object_says_is_kept_until_it_was_found_right() {
        let object = cached(json!({"metadata": {"name": "a"}, "spec": {"ports": [80]}}));
        assert!(!object.says(&json!({"spec": {"ports": [81]}})).unwrap());
        assert!(keeps_content(&object));
        assert!(object.says(&json!({"spec": {"ports": [80]}})).unwrap());
        assert!(!keeps_content(&object));
        assert!(object.says(&json!({"spec": {"ports": [80]}})).unwrap());
    }

    #[test]
    fn an_object_of_a_list_says_the_same_as_one_of_a_watch() {
        let listed = cached(json!({"metadata": {"name": "a"}, "data": {"b": "c"}}));
        let typed = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"b": "c"},
        });
        let watched = cached(typed.clone());
        assert_eq!(listed.digest(), watched.digest());
        assert!(listed.says(&typed).unwrap());
        assert!(watched.says(&typed).unwrap());
    }

    #[test]
    fn a_new_status_leaves_known_what_was_known_and_anything_else_does_not() {
        let object = |version: &str, label: &str, ready: i32| {
            cached(json!({
                "metadata": {"name": "a", "resourceVersion": version, "generation": 1,
                             "managedFields": [{"time": version}], "labels": {"b": label}},
                "spec": {"template": {}}, "status": {"readyReplicas": ready},
            }))
        };
        let before = object("1", "c", 0);
        assert!(before.says(&json!({"spec": {"template": {}}})).unwrap());
        let mut later = object("2", "c", 1);
        assert_eq!(later.digest(), before.digest());
        later.inherit(&before);
        assert!(!keeps_content(&later));
        assert_eq!(later.workload().status.ready_replicas, Some(1));
        let mut edited = object("3", "other", 1);
        assert_ne!(edited.digest(), before.digest());
        edited.inherit(&before);
        assert!(keeps_content(&edited));
    }

    #[test]
    fn a_long_value_is_kept_as_its_digest_and_still_compares() {
        let long = |last: &str| json!({"data": {"short": "a", "long": "x".repeat(5000) + last}});
        let object = cached(long("1"));
        let kept = object.content.lock().unwrap().clone().unwrap();
        assert!(kept.len() < 200, "{kept}");
        assert!(!object.says(&long("2")).unwrap());
        assert!(object.says(&long("1")).unwrap());
    }

    #[test]
    fn of_what_nobody_can_change_the_metadata_is_enough() {
        let wanted = |label: &str, data: &str| {
            json!({
                "metadata": {"name": "a", "labels": {"b": label}}, "data": {"c": data},
                "immutable": true,
            })
        };
        let object = cached(json!({"metadata": {"name": "a", "uid": "1", "labels": {"b": "1"}}}));
        assert!(!object.says(&wanted("2", "x")).unwrap());
        assert!(object.says(&wanted("1", "x")).unwrap());
        let mut mutable = wanted("1", "x");
        mutable["immutable"] = false.into();
        assert!(!cached(json!({"metadata": {}})).says(&mutable).unwrap());
    }

    #[test]
    fn of_a_benchmarks_report_only_what_the_operator_reads_is_kept() {
        let long = "x".repeat(5000);
        let object = cached(json!({
            "metadata": {"labels": {labels::LLM_BENCHMARK: "a"}},
            "data": {"summary.json": long, "report.json": long},
        }));
        assert_eq!(object.benchmark.as_deref(), Some("a"));
        assert_eq!(object.mail.keys().collect::<Vec<_>>(), ["summary.json"]);
        assert_eq!(object.mail["summary.json"], long);
    }

    #[test]
    fn an_object_is_known_by_whose_it_is_and_what_was_wanted_of_it() {
        let owner = json!({
            "apiVersion": "v1", "kind": "K", "name": "o", "uid": "u", "controller": true,
        });
        let object = cached(json!({"metadata": {
            "name": "a", "namespace": "team", "uid": "1", "resourceVersion": "7", "generation": 2,
            "labels": {labels::LLM_DEPLOYMENT: "tiny"},
            "annotations": {labels::APPLIED_HASH: "abc"},
            "ownerReferences": [owner],
        }}));
        assert_eq!((object.namespace(), object.name()), ("team", "a"));
        assert_eq!(object.identity.generation, Some(2));
        assert!(object.identity.is_controlled_by("u") && !object.identity.is_ending);
        assert_eq!(object.deployment.as_deref(), Some("tiny"));
        assert_eq!(object.applied.as_deref(), Some("abc"));
        assert!(
            !object
                .says(&json!({"metadata": {"labels": {labels::LLM_DEPLOYMENT: "b"}}}))
                .unwrap()
        );
    }
}
