//! As much of HTTP/1.1 as the stand-in server needs; little, so that it costs little.
use std::{collections::HashMap, io};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

/// A request whose head has been read.
pub(super) struct Head {
    pub(super) path: String,
    headers: HashMap<String, String>,
}

impl Head {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Reads the next one; none where the client closed the connection.
    pub(super) async fn read(reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Self>> {
        let mut line = String::new();
        if reader.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            line.clear();
            reader.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                return Ok(Some(Self { path, headers }));
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }

    pub(super) async fn body(&self, reader: &mut BufReader<OwnedReadHalf>) -> io::Result<Vec<u8>> {
        let length = self
            .header("content-length")
            .and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body).await?;
        Ok(body)
    }
}

/// Writes a whole answer in JSON.
pub(super) async fn whole(writer: &mut OwnedWriteHalf, status: u16, json: &str) -> io::Result<()> {
    let length = json.len();
    let answer = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
    );
    writer.write_all(answer.as_bytes()).await
}

/// The head of a stream.
pub(super) const STREAM: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// The end of a stream.
pub(super) const END: &str = "0\r\n\r\n";

/// A part of a stream.
pub(super) fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}
