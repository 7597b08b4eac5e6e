//! Real handshakes, with certificates that are made for them.
use super::*;
use axum::serve::Listener;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
    version::{TLS12, TLS13},
};
use std::{fs, io, io::Write, net::SocketAddr, os::unix::fs::symlink, time::Duration};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsConnector;

const NAME: &str = "tiny.team.svc";
const PATIENCE: Duration = Duration::from_secs(5);

/// Puts a new certificate and its key into `folder`, and gives the former back.
fn renew(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
    fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    CertificateDer::from(made.cert)
}

/// A folder with a certificate, and a server that shows it.
async fn serving() -> (
    TempDir,
    CertificateDer<'static>,
    Arc<Certificate>,
    SocketAddr,
) {
    let folder = tempfile::tempdir().unwrap();
    let made = renew(folder.path());
    let certificate = Arc::new(Certificate::read(folder.path()).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listener = TlsListener::new(listener, certificate.acceptor().unwrap());
    tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            open.push(listener.accept().await);
        }
    });
    (folder, made, certificate, address)
}

/// A client that trusts one certificate.
struct Client {
    trusted: CertificateDer<'static>,
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<Vec<u8>>,
}

impl Client {
    fn trusting(trusted: &CertificateDer<'static>) -> Self {
        Self {
            trusted: trusted.clone(),
            versions: vec![&TLS12, &TLS13],
            protocols: Vec::new(),
        }
    }

    /// The protocol that was agreed on, or why there is no connection.
    async fn connect(self, address: SocketAddr) -> io::Result<Option<Vec<u8>>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusted).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = self.protocols;
        let stream = TcpStream::connect(address).await?;
        let name = ServerName::try_from(NAME).unwrap();
        let handshake = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = timeout(PATIENCE, handshake).await??;
        Ok(stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec))
    }
}

#[tokio::test]
async fn both_versions_that_are_safe_are_spoken() {
    let (_folder, made, _, address) = serving().await;
    for version in [&TLS12, &TLS13] {
        let client = Client {
            versions: vec![version],
            ..Client::trusting(&made)
        };
        client.connect(address).await.unwrap();
    }
}

#[tokio::test]
async fn http_1_1_is_agreed_on_and_nothing_else() {
    let (_folder, made, _, address) = serving().await;
    let offering = |protocols: &[&[u8]]| Client {
        protocols: protocols.iter().map(|name| name.to_vec()).collect(),
        ..Client::trusting(&made)
    };
    let agreed = offering(&[b"h2", b"http/1.1"]).connect(address).await;
    assert_eq!(agreed.unwrap().as_deref(), Some(ALPN));
    assert!(offering(&[b"h2"]).connect(address).await.is_err());
}

#[tokio::test]
async fn another_certificate_is_shown_without_a_restart() {
    let (folder, old, certificate, address) = serving().await;
    let new = renew(folder.path());
    Client::trusting(&old).connect(address).await.unwrap();
    certificate.look();
    Client::trusting(&new).connect(address).await.unwrap();
    assert!(Client::trusting(&old).connect(address).await.is_err());
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one_until_a_good_one_comes() {
    let (folder, old, certificate, address) = serving().await;
    fs::write(folder.path().join("tls.crt"), "no certificate").unwrap();
    certificate.look();
    Client::trusting(&old).connect(address).await.unwrap();
    fs::remove_file(folder.path().join("tls.key")).unwrap();
    certificate.look();
    Client::trusting(&old).connect(address).await.unwrap();
    let new = renew(folder.path());
    certificate.look();
    Client::trusting(&new).connect(address).await.unwrap();
}

#[tokio::test]
async fn clients_that_say_nothing_or_nonsense_hold_nobody_up() {
    let (_folder, made, _, address) = serving().await;
    let silent: Vec<_> = (0..20)
        .map(|_| std::net::TcpStream::connect(address).unwrap())
        .collect();
    for _ in 0..20 {
        let mut plain = std::net::TcpStream::connect(address).unwrap();
        plain
            .write_all(b"GET /v1/models HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
    }
    Client::trusting(&made).connect(address).await.unwrap();
    drop(silent);
    Client::trusting(&made).connect(address).await.unwrap();
}

#[test]
fn a_mounted_secret_is_read_through_kubelets_links() {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("..2026_01_01");
    fs::create_dir(&version).unwrap();
    renew(&version);
    symlink("..2026_01_01", folder.path().join("..data")).unwrap();
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), folder.path().join(name)).unwrap();
    }
    Certificate::read(folder.path()).unwrap();
}

#[test]
fn what_cannot_be_used_is_named_with_the_cure_and_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |file: &str, text: &str| {
        renew(folder.path());
        fs::write(folder.path().join(file), text).unwrap();
        let error = Certificate::read(folder.path()).unwrap_err().to_string();
        assert!(!error.contains("secret words"), "{error}");
        error
    };
    let other = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    for (file, text, cure) in [
        ("tls.crt", "", "-----BEGIN"),
        ("tls.key", "secret words", "-----BEGIN"),
        (
            "tls.key",
            &*other.signing_key.serialize_pem(),
            "the private key that it was made for",
        ),
    ] {
        let error = refused(file, text);
        assert!(error.contains(cure), "{error}");
    }
    fs::remove_file(folder.path().join("tls.key")).unwrap();
    let error = Certificate::read(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("tls.key cannot be read") && error.contains("kubectl create secret tls"),
        "{error}"
    );
}
