//! What a client with a connection of its own sees of a server that is asked to end.
use crate::{
    setup::{end, get},
    telemetry::{PATIENCE, serving},
};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::Command,
    time::{Duration, Instant},
};

/// A connection that stays open from one request to the next.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(port: u16) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    /// Sends a request, and gives back the head of its answer.
    fn ask(&mut self) -> String {
        let body = r#"{"prompt": "ab", "max_tokens": 2}"#;
        write!(
            self.0.get_mut(),
            "POST /generate HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(self.0.read_line(&mut head).unwrap(), 0, "{head}");
        }
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        self.0.read_exact(&mut body).unwrap();
        head
    }

    /// Whether the server closes it, without a word.
    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

#[test]
fn connections_are_served_until_no_client_uses_them_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let (mut child, port) = serving(folder.path(), "", &[("CANDLEPOWER_DRAIN_DELAY", "3s")]);
    let (mut busy, mut idle) = (Connection::open(port), Connection::open(port));
    for connection in [&mut busy, &mut idle] {
        let head = connection.ask();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
    }

    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    let begin = Instant::now();
    while get(port, "/health/ready").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
        assert!(begin.elapsed() < PATIENCE, "still ready");
        std::thread::sleep(Duration::from_millis(10));
    }
    let head = busy.ask();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("connection: close"), "{head}");
    assert!(busy.is_closed());
    let mut late = Connection::open(port);
    assert!(late.ask().starts_with("HTTP/1.1 200"));

    assert!(idle.is_closed());
    assert_eq!(end(&mut child, PATIENCE).code(), Some(0));
}
