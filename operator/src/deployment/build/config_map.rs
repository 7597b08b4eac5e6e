//! The ConfigMap: the server's configuration, beside that of its sidecars.
use super::{metadata, pod::WITHDRAWAL_SECONDS};
use crate::{
    deployment::{error::Error, monitoring::Choice, source::ModelSource, validate::Valid},
    sorted::sorted,
};
use candlepower_api::{
    deployment::{Access, Engine, Tracing},
    names::paths,
    server_config::{
        AccessConfig, EngineConfig, HttpConfig, ModelConfig, ServerConfig, TracingConfig,
    },
    value::Duration,
};
use k8s_openapi::api::core::v1::{ConfigMap, ConfigMapVolumeSource, KeyToPath, Volume};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt::Write, num::NonZeroU32, path::PathBuf};

/// What the server of `valid` is to do.
pub(super) fn server_config(valid: &Valid<'_>, choice: &Choice) -> ServerConfig {
    let spec = valid.spec;
    ServerConfig {
        model: ModelConfig {
            served_name: Some(
                spec.model
                    .served_name
                    .clone()
                    .unwrap_or_else(|| valid.name.clone()),
            ),
            sha256: spec.model.sha256.clone(),
            precision: spec.precision,
            preload: spec.preload,
            ..located(valid)
        },
        engine: EngineConfig {
            threads: Some(spec.resources.cpu.threads()),
            memory_limit: Some(spec.resources.memory),
            ..engine(&spec.engine)
        },
        http: HttpConfig {
            tls: spec.access.tls.as_ref().map(|_| paths::TLS_DIR.into()),
            drain_timeout: spec.rollout.drain_timeout,
            drain_delay: Duration::from_secs(WITHDRAWAL_SECONDS),
            ..HttpConfig::default()
        },
        access: access(&spec.access),
        tracing: tracing(&spec.observability.tracing, choice),
        ..ServerConfig::for_model("")
    }
}

/// Where the model is: the part of its configuration that depends on the kind of source.
fn located(valid: &Valid<'_>) -> ModelConfig {
    match &valid.model {
        ModelSource::Mounted(model) => ModelConfig {
            path: model.path.clone(),
            tokenizer: model.tokenizer.clone(),
            ..ModelConfig::default()
        },
        ModelSource::Fetched(model) => ModelConfig {
            source: Some(model.source.clone()),
            revision: valid.spec.model.revision.clone(),
            file: valid.spec.model.file.clone(),
            tokenizer: model.tokenizer.as_ref().map(PathBuf::from),
            ..ModelConfig::default()
        },
    }
}

fn engine(engine: &Engine) -> EngineConfig {
    // The schema allows no negative numbers.
    let count = |number: i32| usize::try_from(number).unwrap_or_default();
    EngineConfig {
        max_batch_size: count(engine.max_batch_size),
        max_batch_wait: engine.max_batch_wait,
        max_queue_depth: count(engine.max_queue_depth),
        max_context_length: engine.max_context_length.map(count),
        kv_cache_memory: engine.kv_cache_memory,
        prefill_chunk: count(engine.prefill_chunk),
        prefix_caching: engine.prefix_caching,
        ..EngineConfig::default()
    }
}

fn access(access: &Access) -> AccessConfig {
    access
        .api_keys
        .as_ref()
        .map_or_else(AccessConfig::default, |keys| AccessConfig {
            api_keys: Some(paths::API_KEYS_DIR.into()),
            requests_per_minute: keys
                .requests_per_minute
                .and_then(|number| u32::try_from(number).ok())
                .and_then(NonZeroU32::new),
        })
}

fn tracing(tracing: &Tracing, choice: &Choice) -> TracingConfig {
    TracingConfig {
        endpoint: choice.endpoint.clone(),
        sampling_ratio: tracing.sampling_ratio,
        slow_first_token: tracing.slow_first_token,
        capture_prompts: tracing.capture_prompts,
        ..TracingConfig::default()
    }
}

/// The configuration as YAML, without what the server assumes anyway. A server keeps its image over
/// an upgrade of the operator: it must not be restarted by, or fail over, a field that it does not
/// know and that nobody has set.
pub(super) fn to_yaml(config: &ServerConfig) -> Result<String, Error> {
    let mut wanted = serde_json::to_value(config)?;
    // The place of the model is the one thing without a default.
    let assumed = serde_json::to_value(ServerConfig::for_model(""))?;
    remove_equal(&mut wanted, &assumed);
    serde_saphyr::to_string(&sorted(wanted)).map_err(|error| Error::Yaml(error.to_string()))
}

/// Removes from `value` what `other` holds, too.
fn remove_equal(value: &mut Value, other: &Value) {
    let (Value::Object(fields), Value::Object(others)) = (value, other) else {
        return;
    };
    fields.retain(|name, field| {
        let Some(other) = others.get(name) else {
            return true;
        };
        remove_equal(field, other);
        field != other && field.as_object().is_none_or(|fields| !fields.is_empty())
    });
}

/// One for all files: each further object is another request before the pods can begin.
pub(super) fn config_map(
    valid: &Valid<'_>,
    config: String,
    mut files: BTreeMap<String, String>,
) -> ConfigMap {
    files.insert(paths::CONFIG_FILE.to_owned(), config);
    ConfigMap {
        metadata: metadata(valid),
        data: Some(files),
        ..ConfigMap::default()
    }
}

/// A volume with some of its files.
pub(super) fn volume(valid: &Valid<'_>, name: &str, files: &[&str]) -> Volume {
    let item = |file: &&str| KeyToPath {
        key: (*file).to_owned(),
        path: (*file).to_owned(),
        mode: None,
    };
    Volume {
        name: name.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: valid.name.clone(),
            items: Some(files.iter().map(item).collect()),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A short name for a configuration's content.
pub(super) fn hash(config: &str) -> String {
    Sha256::digest(config)
        .iter()
        .take(8)
        .fold(String::new(), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{monitoring::served::Served, testing};
    use candlepower_api::deployment::LLMDeployment;
    use serde_json::json;

    fn written_for(resource: &LLMDeployment) -> ServerConfig {
        let choice = testing::choice(resource, Served::default(), &[]);
        server_config(&testing::valid(resource), &choice)
    }

    #[test]
    fn the_server_reads_what_the_resource_says() {
        let resource = testing::resource(json!({
            "model": {"source": "pvc://models/a.gguf", "servedName": "a"},
            "precision": "q4_1",
            "preload": false,
            "engine": {"maxBatchSize": 8, "maxContextLength": 2048, "maxBatchWait": "5ms"},
            "resources": {"cpu": "3500m", "memory": "1Gi"},
            "rollout": {"drainTimeout": "5s"},
            "observability": {"tracing": {"endpoint": "http://jaeger:4317", "samplingRatio": "100%", "slowFirstToken": "1s"}},
        }));
        let written = written_for(&resource);
        let read = ServerConfig::from_yaml(&to_yaml(&written).unwrap()).unwrap();
        assert_eq!(read, written);
        assert_eq!(read.model.served_name.as_deref(), Some("a"));
        assert!(!read.model.preload);
        assert_eq!(read.engine.max_batch_size, 8);
        assert_eq!(read.engine.max_context_length, Some(2048));
        assert_eq!(read.engine.threads, Some(3));
        assert_eq!(read.engine.memory_limit.unwrap().to_string(), "1Gi");
        assert_eq!(read.http.drain_timeout.to_string(), "5s");
        assert_eq!(read.http.drain_delay.to_string(), "5s");
        assert_eq!(read.tracing.endpoint.as_deref(), Some("http://jaeger:4317"));
        assert_eq!(read.tracing.slow_first_token.to_string(), "1s");
    }

    #[test]
    fn a_resource_with_api_keys_tells_the_server_where_they_are() {
        let access = |spec| written_for(&testing::resource(json!({"access": spec}))).access;
        assert_eq!(access(json!({})), AccessConfig::default());
        let keys = json!({"secretRef": {"name": "keys"}, "requestsPerMinute": 60});
        let access = access(json!({"apiKeys": keys}));
        assert_eq!(
            access.api_keys.as_deref(),
            Some("/etc/candlepower-api-keys".as_ref())
        );
        assert_eq!(access.requests_per_minute, NonZeroU32::new(60));
    }

    #[test]
    fn a_resource_with_a_certificate_tells_the_server_where_it_is() {
        let http = |spec| written_for(&testing::resource(json!({"access": spec}))).http;
        assert_eq!(http(json!({})).tls, None);
        let http = http(json!({"tls": {"secretRef": {"name": "tiny-tls"}}}));
        assert_eq!(http.tls.as_deref(), Some("/etc/candlepower-tls".as_ref()));
        assert_eq!((http.port, http.tls_port), (8080, 8443));
    }

    #[test]
    fn no_spans_are_sent_where_tracing_is_off() {
        let resource = testing::resource(json!({
            "observability": {"tracing": {"mode": "None", "endpoint": "http://jaeger:4317"}},
        }));
        assert_eq!(written_for(&resource).tracing.endpoint, None);
    }

    #[test]
    fn spans_go_to_the_jaeger_in_the_same_pod_where_no_collector_is_known() {
        let tracing = written_for(&testing::resource(json!({}))).tracing;
        assert_eq!(tracing.endpoint.as_deref(), Some("http://127.0.0.1:4317"));
    }

    #[test]
    fn the_model_is_named_after_the_resource_where_it_has_no_name() {
        let resource = testing::resource(json!({}));
        let config = written_for(&resource);
        assert_eq!(config.model.served_name.as_deref(), Some("tiny"));
    }
}
