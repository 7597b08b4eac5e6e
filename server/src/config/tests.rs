use super::*;
use clap::CommandFactory;

fn arguments(flags: &[&str]) -> Arguments {
    Arguments::try_parse_from(std::iter::once("candlepower-server").chain(flags.iter().copied()))
        .unwrap()
}

fn resolved(flags: &[&str], file: Option<&str>) -> ServerConfig {
    resolve(arguments(flags), file).unwrap()
}

#[test]
fn the_flags_are_well_formed() {
    Arguments::command().debug_assert();
}

#[test]
fn a_model_alone_is_enough() {
    assert_eq!(
        resolved(&["--model", "a.gguf"], None),
        ServerConfig::for_model("a.gguf")
    );
}

#[test]
fn without_a_model_the_message_says_how_to_give_one() {
    let error = resolve(Arguments::default(), None).unwrap_err().to_string();
    assert!(
        error.contains("--model") && error.contains("CANDLEPOWER_MODEL"),
        "{error}"
    );
}

#[test]
fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
    let file =
        "model: {path: a.gguf, preload: false}\nhttp: {port: 9000}\nengine: {maxBatchSize: 2}";
    let config = resolved(&["--port", "9001", "--preload"], Some(file));
    assert_eq!(config.http.port, 9001);
    assert!(config.model.preload);
    assert_eq!(config.engine.max_batch_size, 2);
    assert_eq!(config.engine.prefill_chunk, 512);
    let config = resolved(&["--model", "b.gguf"], Some(file));
    assert_eq!(config.model.path, PathBuf::from("b.gguf"));
    assert!(!config.model.preload);
}

#[test]
fn every_flag_arrives_in_its_field() {
    let config = resolved(
        &[
            "--model=m.gguf",
            "--served-name=smol",
            "--tokenizer=t.json",
            "--precision=q8_0",
            "--preload=false",
            "--cache=/c",
            "--allow-plain-http",
            "--fetch-connections=8",
            "--sha256=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            "--max-batch-size=3",
            "--max-batch-wait=5ms",
            "--max-queue-depth=7",
            "--max-context-length=512",
            "--kv-cache-memory=64Mi",
            "--prefill-chunk=128",
            "--threads=2",
            "--memory-limit=1Gi",
            "--host=127.0.0.1",
            "--port=1234",
            "--tls=/tls",
            "--tls-port=1235",
            "--body-limit=1Mi",
            "--request-timeout=90s",
            "--drain-timeout=10s",
            "--drain-delay=1s",
            "--api-keys=/keys",
            "--requests-per-minute=60",
            "--otlp-endpoint=http://collector:4317",
            "--sampling-ratio=50%",
            "--slow-first-token=3s",
            "--slow-output-token=250ms",
            "--capture-prompts",
            "--log-format=text",
            "--log-filter=debug",
        ],
        None,
    );
    let expected = "
        model: {path: m.gguf, servedName: smol, tokenizer: t.json, precision: q8_0, preload: false,
          sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef}
        fetch: {cache: /c, allowPlainHttp: true, connections: 8}
        engine: {maxBatchSize: 3, maxBatchWait: 5ms, maxQueueDepth: 7, maxContextLength: 512,
          kvCacheMemory: 64Mi, prefillChunk: 128, threads: 2, memoryLimit: 1Gi}
        http: {host: 127.0.0.1, port: 1234, tls: /tls, tlsPort: 1235, bodyLimit: 1Mi, requestTimeout: 90s, drainTimeout: 10s, drainDelay: 1s}
        access: {apiKeys: /keys, requestsPerMinute: 60}
        tracing: {endpoint: 'http://collector:4317', samplingRatio: 50%, slowFirstToken: 3s, slowOutputToken: 250ms,
          capturePrompts: true}
        log: {format: text, filter: debug}";
    assert_eq!(config, ServerConfig::from_yaml(expected).unwrap());
}

#[test]
fn a_model_may_be_a_source_with_a_revision_and_a_file() {
    let flags = ["--model=hf://a/b", "--revision=v1", "--file=*.gguf"];
    let config = resolved(&flags, Some("model: {path: other.gguf}"));
    let expected = "model: {source: 'hf://a/b', revision: v1, file: '*.gguf'}";
    assert_eq!(config, ServerConfig::from_yaml(expected).unwrap());
    let path = resolved(&["--model=b.gguf"], Some(expected));
    assert_eq!(path, ServerConfig::for_model("b.gguf"), "nothing is left");
}

#[test]
fn a_model_is_in_one_place_and_only_a_source_has_a_revision() {
    for (file, cure) in [
        ("model: {path: a, source: 'hf://a/b'}", "in one place only"),
        ("model: {path: a, revision: v1}", "remove it"),
        ("model: {path: a, file: b}", "model.path"),
        ("model: {preload: false}", "--model"),
    ] {
        let error = resolve(Arguments::default(), Some(file)).unwrap_err();
        assert!(error.to_string().contains(cure), "{error}");
    }
}

#[test]
fn every_flag_has_a_variable_of_ours() {
    for argument in Arguments::command()
        .get_arguments()
        .filter(|argument| !argument.is_hide_set())
    {
        if ["help", "version"].contains(&argument.get_id().as_str()) {
            continue;
        }
        let variable = argument
            .get_env()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        assert!(
            variable.starts_with("CANDLEPOWER_"),
            "{}: {variable}",
            argument.get_id()
        );
    }
}

#[test]
fn our_endpoint_goes_before_the_standards_variable() {
    let standard = "--otel-exporter-otlp-endpoint=http://standard:4317";
    let config = resolved(&["--model=m", standard], None);
    assert_eq!(config.tracing.endpoint.unwrap(), "http://standard:4317");
    let config = resolved(
        &["--model=m", standard, "--otlp-endpoint=http://ours:4317"],
        None,
    );
    assert_eq!(config.tracing.endpoint.unwrap(), "http://ours:4317");
}

#[test]
fn senseless_values_are_refused_with_the_field_and_the_cure() {
    for (flags, field, cure) in [
        ("--max-batch-size=0", "engine.maxBatchSize", "1 or more"),
        ("--threads=0", "engine.threads", "1 or more"),
        ("--fetch-connections=0", "fetch.connections", "1 or more"),
        (
            "--max-context-length=0",
            "engine.maxContextLength",
            "1 or more",
        ),
        ("--body-limit=0", "http.bodyLimit", "2Mi"),
        ("--request-timeout=0s", "http.requestTimeout", "2m"),
        ("--sha256=abc", "model.sha256", "64 hexadecimal digits"),
    ] {
        let message = resolve(arguments(&["--model=m", flags]), None)
            .unwrap_err()
            .to_string();
        assert!(
            message.contains(field) && message.contains(cure),
            "{message}"
        );
    }
}

#[test]
fn https_and_what_is_in_the_clear_need_a_port_each() {
    let same = ["--model=m", "--port=8443", "--tls=/tls"];
    let message = resolve(arguments(&same), None).unwrap_err().to_string();
    assert!(message.contains("http.tlsPort"), "{message}");
    let unused = ["--model=m", "--port=8443"];
    assert!(resolve(arguments(&unused), None).is_ok());
}

#[test]
fn values_that_cannot_be_read_say_what_to_write() {
    for (flag, cure) in [
        ("--body-limit=2MB", "512Mi"),
        ("--drain-timeout=5", "500ms"),
        ("--precision=q9", "q8_0"),
        ("--log-format=xml", "text or json"),
        ("--sampling-ratio=0.5", "90%"),
    ] {
        let error = Arguments::try_parse_from(["candlepower-server", flag]).unwrap_err();
        assert!(error.to_string().contains(cure), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let error = load(arguments(&["--config", "/no/such/server.yaml"]))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/no/such/server.yaml"), "{error}");
}
