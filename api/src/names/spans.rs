//! Span names and attributes, of the server and of the operator. Attributes follow OpenTelemetry's conventions where they
//! exist, and the `gen_ai.latency.*` names that vLLM and SGLang emit where they do not.

/// Encoding the prompt.
pub const TOKENIZE_INPUT: &str = "tokenize_input";
/// Waiting for a place in the batch.
pub const QUEUE: &str = "queue";
/// The engine's work; parent of [`PREFILL`] and [`DECODE`].
pub const MODEL_GENERATE: &str = "model_generate";
/// First step to first token.
pub const PREFILL: &str = "prefill";
/// First token to last token.
pub const DECODE: &str = "decode";
/// Turning tokens into text.
pub const DECODE_OUTPUT: &str = "decode_output";
/// Loading a model, a trace of its own.
pub const LOAD_MODEL: &str = "load_model";
/// Fetching a model that is not on a volume.
pub const DOWNLOAD: &str = "download";
/// Reading the weights.
pub const READ_WEIGHTS: &str = "read_weights";
/// The first, discarded generation.
pub const WARM_UP: &str = "warm_up";

/// `chat` or `text_completion`.
pub const OPERATION_NAME: &str = "gen_ai.operation.name";
/// Always `candlepower`.
pub const PROVIDER_NAME: &str = "gen_ai.provider.name";
/// The model that the request names.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// Prompt tokens.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Generated tokens.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Why each choice ended.
pub const FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Seconds in the queue.
pub const TIME_IN_QUEUE: &str = "gen_ai.latency.time_in_queue";
/// Seconds from request start to first token.
pub const TIME_TO_FIRST_TOKEN: &str = "gen_ai.latency.time_to_first_token";
/// Seconds from request start to last token.
pub const E2E: &str = "gen_ai.latency.e2e";
/// Seconds from first step to first token.
pub const TIME_IN_MODEL_PREFILL: &str = "gen_ai.latency.time_in_model_prefill";
/// Seconds from first token to last token.
pub const TIME_IN_MODEL_DECODE: &str = "gen_ai.latency.time_in_model_decode";

/// Why the request is exported although it was not chosen at its start: [`BECAUSE_SLOW`] or
/// [`BECAUSE_ERROR`].
pub const SAMPLED_BECAUSE: &str = "candlepower.sampled_because";
/// Its first token came late, or not at all for as long; or its tokens came far apart.
pub const BECAUSE_SLOW: &str = "slow";
/// It failed through the server's fault.
pub const BECAUSE_ERROR: &str = "error";
/// Resource attribute: the pod's namespace.
pub const K8S_NAMESPACE: &str = "k8s.namespace.name";
/// Resource attribute: the pod's name.
pub const K8S_POD: &str = "k8s.pod.name";
/// Resource attribute: the `LLMDeployment` that the pod belongs to.
pub const LLM_DEPLOYMENT: &str = "candlepower.llmdeployment";

/// Of the operator: one look at a resource; the root of a trace.
pub const RECONCILE: &str = "reconcile";
/// Reading what the reconcile needs.
pub const DEREFERENCE: &str = "dereference";
/// Making the children of what the resource asks for.
pub const BUILD: &str = "build";
/// Writing or deleting one child that is not as it should be.
pub const APPLY: &str = "apply";
/// Writing the status, where it changes.
pub const WRITE_STATUS: &str = "write_status";
/// One request to the API server.
pub const API_REQUEST: &str = "api_request";

/// The kind of the object that the span is about.
pub const OBJECT_KIND: &str = "candlepower.object.kind";
/// Its name.
pub const OBJECT_NAME: &str = "candlepower.object.name";
/// Its generation, as the operator saw it.
pub const OBJECT_GENERATION: &str = "candlepower.object.generation";
/// Why the reconcile began, in kube-rs' words, such as `object updated`.
pub const TRIGGER: &str = "candlepower.reconcile.trigger";
/// How the reconcile ended: [`SETTLED`], [`REQUEUED`] or [`FAILED`].
pub const OUTCOME: &str = "candlepower.reconcile.outcome";
/// Nothing is to be done until something changes.
pub const SETTLED: &str = "settled";
/// The next look has a time.
pub const REQUEUED: &str = "requeued";
/// The span has the error, and its category as [`ERROR_TYPE`].
pub const FAILED: &str = "failed";
/// The category of the error, as in the operator's metrics.
pub const ERROR_TYPE: &str = "error.type";
/// What is asked of the API server, in its own words, such as `patch`.
pub const API_VERB: &str = "candlepower.api.verb";
/// What kind of object that is about, such as `llmdeployments/status`.
pub const API_RESOURCE: &str = "candlepower.api.resource";
/// The path of a request.
pub const URL_PATH: &str = "url.path";
/// The status of the answer; of a span with several requests, the last one's.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// Resource attribute: whose spans these are.
pub const SERVICE_NAME: &str = "service.name";
/// Resource attribute: its version.
pub const SERVICE_VERSION: &str = "service.version";
