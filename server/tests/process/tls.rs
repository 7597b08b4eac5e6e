//! HTTPS: requests come by it alone, and get the certificate that the folder holds at that moment.
use crate::{
    setup::{end, free_port, get, server, terminate},
    telemetry::{PATIENCE, serving},
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, ServerName},
};
use std::{
    io::{self, Read, Write},
    net::TcpStream,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// Puts a new certificate and its key into `folder`, and gives the former back.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    CertificateDer::from(made.cert)
}

/// The answer to a client that trusts one certificate.
fn get_by_tls(port: u16, path: &str, trusted: &CertificateDer<'static>) -> io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(("127.0.0.1", port))?);
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn requests_come_by_https_alone_and_another_certificate_needs_no_restart() {
    let folder = tempfile::tempdir().unwrap();
    let tls = folder.path().join("tls");
    std::fs::create_dir(&tls).unwrap();
    let old = renew(&tls);
    let tls_port = free_port();
    let number = tls_port.to_string();
    let environment = [
        ("CANDLEPOWER_TLS", tls.to_str().unwrap()),
        ("CANDLEPOWER_TLS_PORT", number.as_str()),
    ];
    let (mut child, port) = serving(folder.path(), "", &environment);
    for path in ["/v1/models", "/health/ready", "/metrics"] {
        let answer = get_by_tls(tls_port, path, &old).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    for path in ["/health/ready", "/metrics"] {
        let answer = get(port, path).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let answer = get(port, "/v1/models").unwrap();
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("send requests by https://"), "{answer}");

    let new = renew(&tls);
    let begin = Instant::now();
    while get_by_tls(tls_port, "/v1/models", &new).is_err() {
        assert!(begin.elapsed() < PATIENCE, "the old certificate is shown");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(get_by_tls(tls_port, "/v1/models", &old).is_err());
    assert_eq!(terminate(&mut child).code(), Some(0));
}

#[test]
fn a_server_without_its_certificate_ends_with_a_reason_and_a_cure() {
    let folder = tempfile::tempdir().unwrap();
    let config = "model: {path: a.gguf}\nhttp: {host: 127.0.0.1, port: 0, tls: /no/such/folder}";
    let mut child = server(folder.path(), config).spawn().unwrap();
    assert_eq!(end(&mut child, PATIENCE).code(), Some(1));
    let words = std::fs::read_to_string(folder.path().join("termination-log")).unwrap();
    let words: serde_json::Value = serde_json::from_str(&words).unwrap();
    assert_eq!(words["reason"], "InvalidConfiguration");
    let message = words["message"].as_str().unwrap();
    assert!(
        message.contains("/no/such/folder/tls.crt")
            && message.contains("kubectl create secret tls"),
        "{message}"
    );
}
