//! Kubernetes labels, annotations and identities.

/// The software that a child runs (recommended label).
pub const APP_NAME: &str = "app.kubernetes.io/name";
/// The resource that a child belongs to (recommended label).
pub const APP_INSTANCE: &str = "app.kubernetes.io/instance";
/// The child's part in the whole (recommended label).
pub const APP_COMPONENT: &str = "app.kubernetes.io/component";
/// The operator, as the one that writes the child (recommended label).
pub const APP_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The name of a namespace, on the namespace itself.
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// The name of the `LLMDeployment` that a child belongs to.
pub const LLM_DEPLOYMENT: &str = "candlepower.dev/llmdeployment";

/// The name of the `LLMBenchmark` that a child belongs to.
pub const LLM_BENCHMARK: &str = "candlepower.dev/llmbenchmark";

/// On a child that Kubernetes lets nobody change: its metadata says all that there is to know.
pub const IMMUTABLE: &str = "candlepower.dev/immutable";

/// Value of [`APP_NAME`] on a benchmark's children.
pub const BENCH_NAME: &str = "candlepower-bench";
/// Value of [`APP_COMPONENT`] on a benchmark's children.
pub const BENCH_COMPONENT: &str = "benchmark";
/// Value of [`APP_NAME`] on the model's children.
pub const SERVER_NAME: &str = "candlepower-server";
/// Value of [`APP_COMPONENT`] on the model's children.
pub const SERVER_COMPONENT: &str = "inference-server";
/// Value of [`APP_MANAGED_BY`], the field manager of server-side apply and the events' reporter.
pub const OPERATOR_NAME: &str = "candlepower-operator";

/// Pod annotation: hash of the server's configuration, so that a change of it rolls the pods.
pub const CONFIG_HASH: &str = "candlepower.dev/config-hash";
/// Annotation of a child: hash of what the operator last wrote, so that an unchanged child is
/// left alone, also by a restarted operator.
pub const APPLIED_HASH: &str = "candlepower.dev/applied-hash";
/// Annotation of an LLMDeployment: the server's image, in place of the operator's default. A
/// benchmark's temporary copy gets the image of what it is a copy of.
pub const SERVER_IMAGE: &str = "candlepower.dev/server-image";
