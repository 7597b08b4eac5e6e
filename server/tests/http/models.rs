use crate::setup::{MODEL, TestServer, answering};

#[tokio::test]
async fn the_served_model_is_listed_and_found_by_name() {
    let server = TestServer::new(answering("a"));
    let list = server.get("/v1/models").await.json();
    assert_eq!(list["object"], "list");
    assert_eq!(list["data"][0]["id"], MODEL);
    assert_eq!(list["data"][0]["max_model_len"], 2048);
    assert_eq!(server.get("/v1/models/mock").await.json(), list["data"][0]);
}

#[tokio::test]
async fn another_name_is_answered_with_the_served_one() {
    let server = TestServer::new(answering("a"));
    let answer = server.get("/v1/models/org/other").await;
    let code = Some("model_not_found".to_owned());
    assert_eq!(
        answer.error(),
        (
            404,
            "invalid_request_error".into(),
            Some("model".into()),
            code
        )
    );
    assert!(answer.message().contains("\"org/other\"") && answer.message().contains("\"mock\""));
}

#[tokio::test]
async fn the_description_and_its_page_are_served() {
    let server = TestServer::new(answering("a"));
    assert_eq!(server.get("/openapi.json").await.json()["openapi"], "3.1.0");
    let page = server.get("/docs").await;
    assert!(
        page.headers["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    assert!(page.text.contains("/openapi.json"));
}
