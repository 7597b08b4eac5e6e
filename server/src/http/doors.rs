//! The ports: one for everything; or, with a certificate, one for everything by HTTPS, and one in the clear for probes
//! and metrics.
use super::{
    AppState, listen, router, router_without_requests,
    serve::ServeError,
    tls::{Certificate, TlsListener},
};
use candlepower_api::server_config::HttpConfig;
use std::{io, sync::Arc};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// The ports, listened on already.
pub(super) struct Doors {
    plain: TcpListener,
    tls: Option<TlsDoor>,
}

struct TlsDoor {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

impl Doors {
    /// Listens as `http` says.
    pub(super) async fn open(http: &HttpConfig) -> Result<Self, ServeError> {
        let tls = match &http.tls {
            None => None,
            Some(folder) => {
                let certificate = Arc::new(Certificate::read(folder)?);
                Some(TlsDoor {
                    acceptor: certificate.acceptor()?,
                    listener: listen_on(http, http.tls_port, "--tls-port").await?,
                    certificate,
                })
            }
        };
        Ok(Self {
            plain: listen_on(http, http.port, "--port").await?,
            tls,
        })
    }

    /// Answers requests, and takes changes of the certificate over, until `closing`. Ends once all connections have.
    pub(super) async fn serve(self, state: AppState, closing: CancellationToken) -> io::Result<()> {
        let plain = listen::prompt(self.plain);
        let Some(tls) = self.tls else {
            return axum::serve(plain, router(state))
                .with_graceful_shutdown(closing.cancelled_owned())
                .await;
        };
        // It ends with the process.
        tokio::spawn(tls.certificate.follow());
        let secure = TlsListener::new(listen::prompt(tls.listener), tls.acceptor);
        let secure = axum::serve(secure, router(state.clone()))
            .with_graceful_shutdown(closing.clone().cancelled_owned());
        let plain = axum::serve(plain, router_without_requests(state))
            .with_graceful_shutdown(closing.cancelled_owned());
        tokio::try_join!(secure.into_future(), plain.into_future())?;
        Ok(())
    }
}

async fn listen_on(
    http: &HttpConfig,
    port: u16,
    flag: &'static str,
) -> Result<TcpListener, ServeError> {
    let listener =
        listen::listen(&http.host, port)
            .await
            .map_err(|problem| ServeError::Listen {
                host: http.host.clone(),
                port,
                problem,
                flag,
            })?;
    tracing::info!(host = http.host, port, "listening");
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candlepower_api::names::reasons::LoadFailure;

    fn local(port: u16) -> HttpConfig {
        HttpConfig {
            host: "127.0.0.1".into(),
            port,
            ..HttpConfig::default()
        }
    }

    #[tokio::test]
    async fn a_taken_port_says_what_to_do() {
        let taken = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Doors::open(&local(port)).await.err().unwrap();
        let message = error.to_string();
        assert!(
            message.contains(&port.to_string()) && message.contains("--host and --port"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn without_a_certificate_the_server_does_not_start_and_says_why() {
        let http = HttpConfig {
            tls: Some("/no/such/folder".into()),
            ..local(0)
        };
        let error = Doors::open(&http).await.err().unwrap();
        assert_eq!(error.reason(), LoadFailure::InvalidConfiguration);
        let message = error.to_string();
        assert!(
            message.contains("/no/such/folder/tls.crt")
                && message.contains("kubectl create secret tls"),
            "{message}"
        );
    }
}
