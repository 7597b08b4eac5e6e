//! HTTPS: the certificate of a folder, which may change while the server runs, and a listener that shows it.
mod files;
mod listener;

pub use files::CertificateError;
pub(super) use listener::TlsListener;

use super::watch;
use files::Pair;
use rustls::{
    crypto::{CryptoProvider, ring},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};
use tokio_rustls::TlsAcceptor;

/// The one protocol that is spoken over TLS.
const ALPN: &[u8] = b"http/1.1";

/// A folder's certificate.
#[derive(Debug)]
pub(super) struct Certificate {
    folder: PathBuf,
    provider: Arc<CryptoProvider>,
    /// What handshakes show.
    shown: RwLock<Arc<CertifiedKey>>,
    /// What the folder held when it was looked at last, so that each change is told of once.
    seen: Mutex<[u8; 32]>,
}

impl Certificate {
    /// Reads the certificate of `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let pair = files::read(folder)?;
        let certified = pair.certified(&provider)?;
        Ok(Self {
            folder: folder.to_owned(),
            provider,
            shown: RwLock::new(Arc::new(certified)),
            seen: Mutex::new(pair.digest()),
        })
    }

    /// Answers handshakes with the certificate as it is then: TLS 1.3 and 1.2.
    pub(super) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, CertificateError> {
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|problem| CertificateError::Unusable {
                folder: self.folder.clone(),
                problem,
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as _);
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Takes changes of the folder over, until it is dropped.
    pub(super) async fn follow(self: Arc<Self>) {
        watch::follow(move || self.look()).await;
    }

    /// Shows the folder's certificate from now on, if it is another one. One that cannot be used changes nothing.
    fn look(&self) {
        let found = files::read(&self.folder);
        if !self.is_news(&found) {
            return;
        }
        let folder = self.folder.display();
        match found.and_then(|pair| pair.certified(&self.provider)) {
            Ok(certified) => {
                let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
                *shown = Arc::new(certified);
                tracing::info!(%folder, "new connections get another certificate");
            }
            Err(error) => {
                tracing::warn!(%folder, "the certificate stays as it was: {error}");
            }
        }
    }

    /// Whether the folder did not hold this when it was looked at last; notes that it does.
    fn is_news(&self, found: &Result<Pair, CertificateError>) -> bool {
        let digest = match found {
            Ok(pair) => pair.digest(),
            Err(error) => Sha256::digest(error.to_string()).into(),
        };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *seen, digest) != digest
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}

#[cfg(test)]
mod tests;
