//! Accepts connections, and shakes hands with each one by itself: a client that is slow, or that speaks no TLS, keeps
//! nobody waiting.
use axum::serve::Listener;
use std::{io, net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// How long a handshake may take: two or three exchanges, on the worst of lines.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A connection that can be spoken over, unless its handshake failed.
type Shaken = Option<(TlsStream<TcpStream>, SocketAddr)>;

/// Another listener's connections, with TLS. Handshakes that still run end with it.
pub(in crate::http) struct TlsListener<L> {
    listener: L,
    acceptor: TlsAcceptor,
    handshakes: JoinSet<Shaken>,
}

impl<L> TlsListener<L> {
    pub(in crate::http) fn new(listener: L, acceptor: TlsAcceptor) -> Self {
        Self {
            listener,
            acceptor,
            handshakes: JoinSet::new(),
        }
    }
}

impl<L: Listener<Io = TcpStream, Addr = SocketAddr>> Listener for TlsListener<L> {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            tokio::select! {
                (connection, address) = self.listener.accept() => {
                    let acceptor = self.acceptor.clone();
                    self.handshakes.spawn(shake_hands(acceptor, connection, address));
                }
                Some(ended) = self.handshakes.join_next() => {
                    // A handshake that panicked is as good as one that failed.
                    if let Ok(Some(shaken)) = ended {
                        return shaken;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// What goes wrong here is the client's affair, and any port scanner makes it happen: nothing to wake anybody for.
async fn shake_hands(acceptor: TlsAcceptor, connection: TcpStream, client: SocketAddr) -> Shaken {
    match timeout(HANDSHAKE, acceptor.accept(connection)).await {
        Ok(Ok(stream)) => return Some((stream, client)),
        Ok(Err(error)) => tracing::debug!(%client, %error, "a TLS handshake failed"),
        Err(_) => tracing::debug!(%client, "a TLS handshake took too long"),
    }
    None
}
