//! Against a server in the test that speaks as much of the protocol as uploads need.
use super::*;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpListener,
    task::JoinHandle,
};

/// What came: the first line, the length that was promised, and the body.
type Upload = (String, usize, Vec<u8>);

/// Answers one connection after the other with these codes, and gives back what came.
async fn server(codes: &'static [&'static str]) -> (String, JoinHandle<Vec<Upload>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let serve = async move {
        let mut seen = vec![];
        for code in codes {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).await.unwrap();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.unwrap();
                if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let answer = format!(
                "HTTP/1.1 {code}\r\nConnection: close\r\nContent-Length: 14\r\n\r\n<Code>X</Code>"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            seen.push((first, length, body));
        }
        seen
    };
    (address, tokio::spawn(serve))
}

fn records(endpoint: Option<&str>) -> S3Records {
    serde_json::from_value(serde_json::json!({
        "bucket": "abc", "prefix": "team/", "endpoint": endpoint, "region": "eu-central-1",
        "credentials": {"secretRef": {"name": "keys"}},
    }))
    .unwrap()
}

fn keys(name: &str) -> Option<String> {
    (name != "AWS_SESSION_TOKEN").then(|| format!("value of {name}"))
}

/// A folder with a file of several pieces.
fn folder() -> (tempfile::TempDir, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let content: Vec<u8> = (0..3 * PIECE + 7)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    std::fs::write(folder.path().join("records.jsonl.gz"), &content).unwrap();
    (folder, content)
}

#[tokio::test]
async fn files_arrive_whole_under_their_names_and_signed() {
    let (address, served) = server(&["200 OK"]).await;
    let bucket = Bucket::open(&records(Some(&address)), keys).unwrap();
    let (folder, content) = folder();
    bucket
        .put(folder.path(), "nightly/deployment")
        .await
        .unwrap();
    let (line, length, body) = served.await.unwrap().remove(0);
    assert!(
        line.starts_with("PUT /abc/team/nightly/deployment/records.jsonl.gz?"),
        "{line}"
    );
    for part in [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "eu-central-1%2Fs3%2Faws4_request",
        "X-Amz-Signature=",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!line.contains("SECRET"), "only its signature: {line}");
    assert_eq!((length, body), (content.len(), content));
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let (address, served) = server(&["503 Slow Down", "200 OK"]).await;
    let bucket = Bucket::open(&records(Some(&address)), keys).unwrap();
    let (folder, content) = folder();
    bucket.put(folder.path(), "a").await.unwrap();
    let seen = served.await.unwrap();
    assert!(seen.iter().all(|(_, _, body)| *body == content));
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_refusal_says_where_and_why_and_gives_no_signature_away() {
    let (address, served) = server(&["403 Forbidden"]).await;
    let bucket = Bucket::open(&records(Some(&address)), keys).unwrap();
    let refused = bucket.put(folder().0.path(), "a").await.unwrap_err();
    let text = refused.to_string();
    for part in ["team/a/records.jsonl.gz", "bucket abc", "403", "<Code>X"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("X-Amz"), "{text}");
    assert_eq!(served.await.unwrap().len(), 1, "it is not asked again");
}

#[tokio::test]
async fn without_an_endpoint_it_is_amazons_of_the_region() {
    let bucket = Bucket::open(&records(None), keys).unwrap();
    let address = bucket.address.base_url().to_string();
    assert_eq!(address, "https://abc.s3.eu-central-1.amazonaws.com/");
}

#[tokio::test]
async fn a_key_that_is_missing_is_named() {
    let none = Bucket::open(&records(None), |_| None).err().unwrap();
    assert!(none.to_string().contains("AWS_ACCESS_KEY_ID"), "{none}");
}
