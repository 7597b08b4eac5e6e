//! Connections by TLS: by what certificates a server is known, and under what name.
use super::plan::Trust;
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer, ServerName,
        pem::{self, PemObject},
    },
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Why no https server can be known.
#[derive(Debug, thiserror::Error)]
pub enum Untrustworthy {
    /// There is nothing to check certificates by.
    #[error(
        "this machine has no certificates to check an https address with ({0}); install ca-certificates or set SSL_CERT_FILE"
    )]
    Machine(#[source] io::Error),
    /// A file has no certificates.
    #[error("{} has no certificates to check an https address with ({problem}); name a file in PEM form, which begins with -----BEGIN CERTIFICATE", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: pem::Error,
    },
    /// A certificate cannot be used, or there is no way to use one.
    #[error("certificates cannot be checked: {0}")]
    Tls(#[from] rustls::Error),
    /// No certificate is for such a name.
    #[error("{0} is no name that a certificate can be for; write one such as vllm.models.svc")]
    Name(String),
}

/// Makes connections to servers that `trust` knows.
pub(super) fn connector(
    http: HttpConnector,
    trust: &Trust,
) -> Result<HttpsConnector<HttpConnector>, Untrustworthy> {
    let builder = HttpsConnectorBuilder::new();
    let builder = if trust.certificates.is_empty() {
        let machines = builder.with_native_roots();
        machines.map_err(Untrustworthy::Machine)?
    } else {
        builder.with_tls_config(by_files(&trust.certificates)?)
    };
    let builder = builder.https_or_http();
    let builder = match &trust.server_name {
        None => builder,
        Some(name) => {
            let known = ServerName::try_from(name.clone());
            let known = known.map_err(|_| Untrustworthy::Name(name.clone()))?;
            builder.with_server_name_resolver(FixedServerNameResolver::new(known))
        }
    };
    Ok(builder.enable_http1().wrap_connector(http))
}

fn by_files(files: &[PathBuf]) -> Result<ClientConfig, Untrustworthy> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(files)? {
        roots.add(certificate)?;
    }
    Ok(
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

/// What all of `files` hold.
pub(crate) fn certificates(
    files: &[PathBuf],
) -> Result<Vec<CertificateDer<'static>>, Untrustworthy> {
    let mut all = Vec::new();
    for file in files {
        all.extend(read(file)?);
    }
    Ok(all)
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, Untrustworthy> {
    let none = |problem| Untrustworthy::File {
        path: file.to_owned(),
        problem,
    };
    let found = CertificateDer::pem_file_iter(file).map_err(none)?;
    let found: Vec<_> = found.collect::<Result<_, _>>().map_err(none)?;
    if found.is_empty() {
        return Err(none(pem::Error::NoItemsFound));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{client::Client, plan::Target};
    use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
    use std::{
        fs,
        io::Read,
        net::{Ipv4Addr, TcpListener},
        thread,
    };

    /// The address of a server whose certificate is for `name`, and a file in `folder` with that certificate.
    fn server(folder: &Path, name: &str) -> (String, PathBuf) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, made.cert.pem()).unwrap();
        let key = made.signing_key.serialize_pem();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![CertificateDer::from(made.cert)], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
                // It shakes hands, and waits until the client goes.
                let _ = StreamOwned::new(tls, connection.unwrap()).read(&mut [0]);
            }
        });
        (format!("https://{address}"), file)
    }

    /// Whether a client connects, or why not.
    async fn connect(url: &str, file: &Path, server_name: Option<&str>) -> Result<(), String> {
        let client = Client::new(&Target {
            url: url.to_owned(),
            model: None,
            api_key: None,
            trust: Trust {
                certificates: vec![file.to_owned()],
                server_name: server_name.map(str::to_owned),
            },
        });
        let client = client.map_err(|error| error.to_string())?;
        let connection = client.connect().await;
        connection.map(drop).map_err(|failure| failure.message)
    }

    #[tokio::test]
    async fn a_server_is_known_by_its_own_certificate_and_under_its_name_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (url, file) = server(folder.path(), "tiny.team.svc");
        let (_, other) = server(folder.path(), "other.team.svc");
        let name = Some("tiny.team.svc");
        assert_eq!(connect(&url, &file, name).await, Ok(()));
        for (file, name) in [(&file, None), (&file, Some("a.svc")), (&other, name)] {
            let why = connect(&url, file, name).await.unwrap_err();
            assert!(why.contains("certificate"), "{why}");
        }
    }

    #[tokio::test]
    async fn what_holds_no_certificate_is_named_with_the_cure() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        for text in [None, Some("words")] {
            if let Some(text) = text {
                fs::write(&file, text).unwrap();
            }
            let why = connect("https://a", &file, None).await.unwrap_err();
            assert!(
                why.contains("ca.crt") && why.contains("-----BEGIN CERTIFICATE"),
                "{why}"
            );
        }
    }
}
