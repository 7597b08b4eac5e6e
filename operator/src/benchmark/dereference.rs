//! Everything that a reconcile reads, from the caches; only an end is verified with the API server.
use super::{build::names, context::Context, mailbox::Mailbox, nodes::Nodes};
use crate::{
    children::{Cached, is_controlled_by},
    error::Error,
    start_failure,
    watches::{Job, Pod},
};
use candlepower_api::{
    benchmark::{LLMBenchmark, LLMBenchmarkStatus, job::Summary},
    deployment::LLMDeployment,
};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::ConfigMap};
use kube::{
    Api, Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

/// What the cluster looks like now.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// The status that was written last.
    pub(super) previous: LLMBenchmarkStatus,
    pub(super) config_maps: Vec<Arc<Cached>>,
    pub(super) mailbox: Mailbox,
    pub(super) job: Option<Arc<Job>>,
    /// The job's pods.
    pub(super) pods: Vec<Arc<Pod>>,
    /// Jobs that look at nodes.
    pub(super) probes: Vec<Arc<Job>>,
    pub(super) probe_pods: Vec<Arc<Pod>>,
    /// Why a node cannot start one of them.
    pub(super) start_failure: Option<String>,
    /// What is measured, where it is a deployment.
    pub(super) target: Option<Arc<LLMDeployment>>,
    pub(super) target_pods: Vec<Arc<Pod>>,
    /// Temporary copies of it.
    pub(super) copies: Vec<Arc<LLMDeployment>>,
    pub(super) copy_pods: Vec<Arc<Pod>>,
    /// The nodes of all these pods.
    pub(super) nodes: Nodes,
    /// All other benchmarks of the namespace.
    pub(super) others: Vec<Arc<LLMBenchmark>>,
    /// Those of them that are runs of this schedule, with their results.
    pub(super) runs: Vec<Run>,
    /// The result of `spec.baseline`.
    pub(super) baseline: Option<Summary>,
    /// Those of the others whose own baseline has no result: they wait for it, and hold up nobody.
    pub(super) others_without_baseline: BTreeSet<String>,
}

/// One run of a schedule.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) benchmark: Arc<LLMBenchmark>,
    pub(super) summary: Option<Summary>,
}

/// Reads what the reconcile of `resource` needs.
pub(super) async fn dereference(
    resource: &LLMBenchmark,
    context: &Context,
) -> Result<Observed, Error> {
    context.caches.filled().await?;
    let namespace = resource.namespace().ok_or(Error::Incomplete("namespace"))?;
    let uid = resource.uid().ok_or(Error::Incomplete("uid"))?;
    let name = resource.name_any();
    let status = resource.status.clone().unwrap_or_default();
    let caches = &context.caches;

    let deployments = deployments(context, &namespace);
    let target = resource.spec.target.deployment.as_ref().and_then(|target| {
        let found = |one: &&Arc<LLMDeployment>| one.name_any() == *target;
        deployments.iter().find(found).cloned()
    });
    let copies: Vec<_> = deployments
        .into_iter()
        .filter(|deployment| is_controlled_by(deployment.meta(), &uid))
        .collect();
    let pods_of = |deployment: &str| caches.pods.of_deployment(&namespace, deployment);
    let others = others(context, &namespace, &uid);
    let runs = others
        .iter()
        .filter(|other| is_controlled_by(other.meta(), &uid))
        .map(|run| Run {
            benchmark: run.clone(),
            summary: summary_of(context, &namespace, &run.name_any()),
        })
        .collect();
    let baseline_of = |benchmark: &LLMBenchmark| {
        let baseline = benchmark.spec.baseline.as_ref()?;
        Some(summary_of(context, &namespace, &baseline.benchmark))
    };
    let others_without_baseline = others
        .iter()
        .filter(|other| baseline_of(other).is_some_and(|result| result.is_none()))
        .map(|other| other.name_any())
        .collect();
    let of_probe = names::probes(&name);
    let own = |of: &str, benchmark: Option<&str>| *of == *namespace && benchmark == Some(&name);
    let (probe_pods, pods) = caches
        .pods
        .matching(|pod| own(&pod.namespace, pod.benchmark.as_deref()))
        .into_iter()
        .partition(|pod| pod.name.starts_with(&of_probe));
    let mut observed = Observed {
        previous: context.written.newest(&uid, status),
        config_maps: caches
            .config_maps
            .matching(|one| own(&one.identity.namespace, one.benchmark.as_deref())),
        job: by_name(&caches.jobs, &namespace, &names::job(&name))
            .filter(|job| is_controlled_by(job.meta(), &uid)),
        pods,
        probes: caches.jobs.state_filter(|job| {
            job.namespace().as_ref() == Some(&namespace)
                && job.name_any().starts_with(&of_probe)
                && is_controlled_by(job.meta(), &uid)
        }),
        probe_pods,
        start_failure: None,
        target_pods: target
            .as_ref()
            .map(|target| pods_of(&target.name_any()))
            .unwrap_or_default(),
        copy_pods: copies
            .iter()
            .flat_map(|copy| pods_of(&copy.name_any()))
            .collect(),
        target,
        copies,
        nodes: Nodes::default(),
        others,
        runs,
        baseline: baseline_of(resource).flatten(),
        others_without_baseline,
        mailbox: Mailbox::default(),
    };
    observed.mailbox = mailbox(&observed.config_maps, &uid);
    verify_end(&mut observed, &namespace, &name, &uid, context).await?;
    if observed.previous.completed_at.is_none() && resource.spec.schedule.is_none() {
        let serving = observed.target_pods.iter().chain(&observed.copy_pods);
        observed.nodes = context.nodes.of_pods(serving, &context.client).await;
    }
    for pod in &observed.pods {
        if let Some(failure) = start_failure::of(&context.client, pod).await {
            observed.start_failure = Some(failure);
        }
    }
    Ok(observed)
}

/// Watches of several kinds are not in step: a job may seem to have ended before its report is seen,
/// or to be gone before it is seen at all. An end is for ever, so that it is asked for.
async fn verify_end(
    observed: &mut Observed,
    namespace: &str,
    name: &str,
    uid: &str,
    context: &Context,
) -> Result<(), Error> {
    if observed.previous.started_at.is_none() || observed.previous.completed_at.is_some() {
        return Ok(());
    }
    if observed.job.is_none() {
        let job = get::<Job>(context, namespace, &names::job(name)).await?;
        observed.job = job
            .filter(|job| is_controlled_by(job.meta(), uid))
            .map(Arc::new);
    }
    let over = match &observed.job {
        Some(job) => super::pod::job_end(job).is_some(),
        None => true,
    };
    if over && observed.mailbox.summary.is_none() {
        let report = get::<ConfigMap>(context, namespace, &names::report(name)).await?;
        observed.mailbox = report
            .filter(|report| is_controlled_by(report.meta(), uid))
            .map(|report| Mailbox::of(&report.data.unwrap_or_default()))
            .unwrap_or_default();
    }
    Ok(())
}

async fn get<K>(context: &Context, namespace: &str, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned,
{
    let objects: Api<K> = Api::namespaced(context.client.clone(), namespace);
    objects.get_opt(name).await.map_err(|source| Error::Child {
        verb: "reading",
        kind: K::kind(&()).into_owned(),
        name: name.to_owned(),
        source: Box::new(source),
    })
}

fn mailbox(config_maps: &[Arc<Cached>], uid: &str) -> Mailbox {
    let ours = config_maps
        .iter()
        .find(|one| one.identity.is_controlled_by(uid));
    ours.map(|one| Mailbox::of(&one.mail)).unwrap_or_default()
}

/// The result of another benchmark in the namespace.
fn summary_of(context: &Context, namespace: &str, benchmark: &str) -> Option<Summary> {
    let reports = &context.caches.config_maps;
    let report = reports.get(namespace, &names::report(benchmark))?;
    let labelled = report.benchmark.as_deref() == Some(benchmark);
    labelled
        .then(|| Mailbox::of(&report.mail).summary)
        .flatten()
}

fn deployments(context: &Context, namespace: &str) -> Vec<Arc<LLMDeployment>> {
    let here = context
        .caches
        .deployments
        .state_filter(|one| one.namespace().as_deref() == Some(namespace));
    here.iter()
        .filter_map(|guarded| guarded.0.as_ref().ok().cloned().map(Arc::new))
        .collect()
}

fn others(context: &Context, namespace: &str, uid: &str) -> Vec<Arc<LLMBenchmark>> {
    let here = context.caches.benchmarks.state_filter(|one| {
        one.namespace().as_deref() == Some(namespace) && one.uid().as_deref() != Some(uid)
    });
    here.iter()
        .filter_map(|guarded| guarded.0.as_ref().ok().cloned().map(Arc::new))
        .collect()
}

fn by_name<K>(cache: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    cache.get(&ObjectRef::new(name).within(namespace))
}
