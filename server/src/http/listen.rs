//! The server's listener: a place in the queue for each client of a burst, each token sent at once.
use axum::serve::{Listener, ListenerExt};
use std::{io, net::SocketAddr};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};

/// Connections that wait until they are accepted; the system may allow fewer
/// (`net.core.somaxconn`, 4096 by default). Beyond the queue the system drops or resets, and the
/// 128 that libraries ask for by default are fewer than the users of one busy deployment.
const BACKLOG: u32 = 4096;

/// Listens on the first address of `host` that is free, like [`TcpListener::bind`].
///
/// # Errors
/// The name has no address, or none of its addresses can be listened on.
pub async fn listen(host: &str, port: u16) -> io::Result<TcpListener> {
    let mut problem = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
    for address in lookup_host((host, port)).await? {
        match listen_on(address) {
            Ok(listener) => return Ok(listener),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // A server that starts again must not wait for its predecessor's connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connections that send each token at once: with Nagle's algorithm a stream's second event waits
/// for the client's delayed acknowledgement of the first, 40 ms.
pub fn prompt(listener: TcpListener) -> impl Listener<Addr = SocketAddr, Io = TcpStream> {
    listener.tap_io(|connection| {
        // A connection that has gone already ends by itself.
        let _ = connection.set_nodelay(true);
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn a_burst_of_clients_connects_before_any_is_accepted() {
        let listener = listen("127.0.0.1", 0).await.unwrap();
        let address = listener.local_addr().unwrap();
        let allowed = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
        let burst = 400.min(allowed.trim().parse().unwrap());
        let connect = futures::future::join_all((0..burst).map(|_| TcpStream::connect(address)));
        let connected = tokio::time::timeout(Duration::from_secs(30), connect).await;
        assert!(
            connected
                .expect("some wait for ever")
                .iter()
                .all(Result::is_ok)
        );
        let mut accepted = 0;
        while accepted < burst {
            listener.accept().await.unwrap();
            accepted += 1;
        }
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_an_error() {
        assert!(listen("no.such.name.invalid", 0).await.is_err());
    }
}
