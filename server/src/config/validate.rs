//! Values that can be read and make no sense.
use super::ConfigError;
use candlepower_api::{
    server_config::ServerConfig,
    value::{ByteSize, Duration},
};

/// Refuses the first such value, with what to write instead.
pub(super) fn validate(config: &ServerConfig) -> Result<(), ConfigError> {
    let model = &config.model;
    match (&model.source, model.path.as_os_str().is_empty()) {
        (None, true) => return Err(ConfigError::NoModel),
        (Some(source), false) => {
            let cure = "remove model.path or this: the model is in one place only";
            return Err(invalid("model.source", source, cure));
        }
        _ => {}
    }
    if let (None, Some(revision)) = (&model.source, &model.revision) {
        let cure = "only sources that are fetched have revisions: remove it";
        return Err(invalid("model.revision", revision, cure));
    }
    if let (None, Some(file)) = (&model.source, &model.file) {
        let cure = "write the whole path into model.path instead";
        return Err(invalid("model.file", file, cure));
    }
    let at_least_one = "write 1 or more";
    let engine = &config.engine;
    for (field, value) in [
        ("engine.maxBatchSize", Some(engine.max_batch_size)),
        ("engine.maxQueueDepth", Some(engine.max_queue_depth)),
        ("engine.prefillChunk", Some(engine.prefill_chunk)),
        ("engine.maxContextLength", engine.max_context_length),
        ("engine.threads", engine.threads),
        ("fetch.connections", config.fetch.connections),
    ] {
        if value == Some(0) {
            return Err(invalid(field, "0", at_least_one));
        }
    }
    if config.http.body_limit == ByteSize::default() {
        return Err(invalid("http.bodyLimit", "0", "write a size such as 2Mi"));
    }
    if config.http.tls.is_some() && config.http.tls_port == config.http.port {
        return Err(invalid(
            "http.tlsPort",
            "the same as http.port",
            "write another one, because http.port has probes and metrics in the clear",
        ));
    }
    if config.http.request_timeout == Some(Duration::default()) {
        return Err(invalid(
            "http.requestTimeout",
            "0s",
            "write a duration such as 2m, or leave it out",
        ));
    }
    if config.access.requests_per_minute.is_some() && config.access.api_keys.is_none() {
        return Err(invalid(
            "access.requestsPerMinute",
            "set without access.apiKeys",
            "give a folder with API keys, too, because requests are counted for each key",
        ));
    }
    if config.model.served_name.as_deref() == Some("") {
        return Err(invalid(
            "model.servedName",
            "empty",
            "write a name or leave it out",
        ));
    }
    if let Some(hash) = &config.model.sha256
        && !(hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    {
        return Err(invalid("model.sha256", hash, "write 64 hexadecimal digits"));
    }
    Ok(())
}

fn invalid(field: &'static str, value: &str, cure: &'static str) -> ConfigError {
    ConfigError::Invalid {
        field,
        value: value.to_owned(),
        cure,
    }
}
