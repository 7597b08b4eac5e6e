//! Spans over TLS: to a collector whose certificate is trusted, and not to one whose is not.
use crate::{
    setup::{get, terminate},
    telemetry::{PATIENCE, generate, serving},
};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    io::Read,
    net::TcpListener,
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

/// What a client of HTTP/2, and so of gRPC, says first.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const LOST: &str = "llm_trace_spans_dropped_total ";

/// A collector with a certificate of its own, which it writes to `certificates`. What each connection says first comes
/// through the channel, or why it says nothing.
fn collector(certificates: &Path) -> (String, Receiver<Result<[u8; 24], String>>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(certificates, made.cert.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let certificate = CertificateDer::from(made.cert);
    let mut config =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let config = Arc::new(config);

    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, first) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut said = [0; 24];
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let outcome = StreamOwned::new(tls, connection.unwrap()).read_exact(&mut said);
            let _ = heard.send(outcome.map(|()| said).map_err(|error| error.to_string()));
        }
    });
    (format!("https://localhost:{port}"), first)
}

fn tracing(endpoint: &str) -> String {
    format!("tracing: {{endpoint: '{endpoint}', samplingRatio: 100%}}")
}

#[test]
fn a_collector_whose_certificate_is_trusted_is_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = folder.path().join("certificates.pem");
    let (endpoint, first) = collector(&certificates);
    let environment = [("SSL_CERT_FILE", certificates.to_str().unwrap())];
    let (mut child, port) = serving(folder.path(), &tracing(&endpoint), &environment);
    assert!(generate(port, false).starts_with("HTTP/1.1 200"));
    assert_eq!(first.recv_timeout(PATIENCE).unwrap().as_ref(), Ok(PREFACE));
    assert_eq!(terminate(&mut child).code(), Some(0));
}

#[test]
fn a_collector_whose_certificate_is_not_trusted_gets_nothing_and_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let (endpoint, first) = collector(&folder.path().join("its.pem"));
    // Trusted is another one.
    let trusted = folder.path().join("trusted.pem");
    let _other = collector(&trusted);
    let environment = [("SSL_CERT_FILE", trusted.to_str().unwrap())];
    let (mut child, port) = serving(folder.path(), &tracing(&endpoint), &environment);
    assert!(generate(port, false).starts_with("HTTP/1.1 200"));
    let refusal = first.recv_timeout(PATIENCE).unwrap().unwrap_err();
    assert!(refusal.contains("alert"), "{refusal}");
    let begin = Instant::now();
    loop {
        let metrics = get(port, "/metrics").unwrap();
        let lost = metrics.lines().find_map(|line| line.strip_prefix(LOST));
        if lost.unwrap() != "0" {
            break;
        }
        assert!(begin.elapsed() < PATIENCE, "{metrics}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(terminate(&mut child).code(), Some(0));
}
