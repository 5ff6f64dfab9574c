//! Bodies of refused requests, over a real socket: the client sees the answer, and is not asked for bytes in vain.

use crate::support::{RawClient, TestGateway};

const BIG: usize = 3 << 20;

fn put(headers: &str) -> String {
    format!(
        "PUT /api/v1/buckets/default/files/a HTTP/1.1\r\nhost: usp\r\ncontent-length: {BIG}\r\n{headers}\r\n"
    )
}

#[tokio::test]
async fn an_upload_that_is_refused_early_is_answered_while_it_is_sent() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    client.send(put("")).await;
    client.send(vec![b'x'; 1 << 20]).await;
    assert_eq!(client.answer().await.status, 401);
    // The rest is thrown away, and the connection goes on.
    client.send(vec![b'x'; BIG - (1 << 20)]).await;
    assert_eq!(client.ask("GET", "/livez", "").await.status, 200);
}

#[tokio::test]
async fn a_refused_client_that_asks_first_is_not_told_to_send() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    client.send(put("expect: 100-continue\r\n")).await;
    assert_eq!(client.answer().await.status, 401);
}

#[tokio::test]
async fn a_welcome_client_that_asks_first_is_told_to_send() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    client.send(put("expect: 100-continue\r\nauthorization: Bearer admin\r\n")).await;
    assert_eq!(client.answer().await.status, 100);
    client.send(vec![b'x'; BIG]).await;
    assert_eq!(client.answer().await.status, 201);
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let gateway = TestGateway::start().await;
    let mut client = RawClient::connect(gateway.http).await;
    client.send(put("authorization: Bearer admin\r\n")).await;
    client.send(vec![b'x'; 1 << 20]).await;
    drop(client);
    let mut client = RawClient::connect(gateway.http).await;
    let path = "/api/v1/buckets/default/files/a";
    assert_eq!(client.ask("GET", path, "authorization: Bearer admin\r\n").await.status, 404);
}
