//! Reads a certificate and its key from a folder, as a mounted Secret of the type `kubernetes.io/tls` lays them out.
use candlepower_api::names::paths;
use rustls::{
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What kubelet's files are links into. It is replaced in one step, and all files with it.
const DATA: &str = "..data";

/// Why a folder has no certificate that can be served with. The message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is missing, or cannot be read.
    #[error(
        "{} cannot be read ({problem}): HTTPS needs a Secret of the type kubernetes.io/tls, as `kubectl create secret tls NAME --cert=FILE --key=FILE` makes it", path.display()
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// A file is not in PEM form.
    #[error(
        "{} holds no {kind} ({problem}): write it in PEM form, which begins with -----BEGIN", path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        kind: &'static str,
        /// What is wrong with it.
        problem: pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not supported.
    #[error(
        "the certificate and the key in {} cannot be used ({problem}): put a certificate and the private key that it was made for there, of RSA with 2048 bits or more, ECDSA P-256 or P-384, or Ed25519", folder.display()
    )]
    Unusable {
        /// The folder.
        folder: PathBuf,
        /// What is wrong with them.
        problem: rustls::Error,
    },
}

/// What the two files hold.
pub(super) struct Pair {
    folder: PathBuf,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Reads the files of `folder`, both of the same version.
pub(super) fn read(folder: &Path) -> Result<Pair, CertificateError> {
    // Where there is no such link, the files lie in the folder itself.
    let version = fs::canonicalize(folder.join(DATA)).unwrap_or_else(|_| folder.to_owned());
    let read = |name: &str| {
        fs::read(version.join(name)).map_err(|problem| CertificateError::Unreadable {
            path: folder.join(name),
            problem,
        })
    };
    Ok(Pair {
        folder: folder.to_owned(),
        certificate: read(paths::TLS_CERTIFICATE)?,
        key: read(paths::TLS_KEY)?,
    })
}

impl Pair {
    /// What tells this pair from another one.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for file in [&self.certificate, &self.key] {
            digest.update(Sha256::digest(file));
        }
        digest.finalize().into()
    }

    /// The pair as handshakes use it, if its halves belong together.
    pub(super) fn certified(
        &self,
        provider: &CryptoProvider,
    ) -> Result<CertifiedKey, CertificateError> {
        let malformed = |name: &str, kind, problem| CertificateError::Malformed {
            path: self.folder.join(name),
            kind,
            problem,
        };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| {
                if chain.is_empty() {
                    Err(pem::Error::NoItemsFound)
                } else {
                    Ok(chain)
                }
            })
            .map_err(|problem| malformed(paths::TLS_CERTIFICATE, "certificate", problem))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|problem| malformed(paths::TLS_KEY, "private key", problem))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|problem| CertificateError::Unusable {
            folder: self.folder.clone(),
            problem,
        })
    }
}
