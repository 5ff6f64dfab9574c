//! What the client does on the wire, against a server that answers from a script.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod scripted;

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use usp_client::{Client, ClientConfig, ClientError, EventFilter, PutBody, PutFile, Token, TokenSource};
use usp_model::{BucketName, ErrorKind, FileKey, FileRef, RunId, UserName};

use scripted::{Script, answer, json};

const FILE: &str = r#"{"id":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","bucket":"default","key":"a b.csv","version":1,
    "size":5,"media_type":"text/csv","etag":"\"e\"","state":"ready","created_at":"2026-01-01T00:00:00.000Z",
    "updated_at":"2026-01-01T00:00:00.000Z","owner":"alice","field_of_a_newer_server":1}"#;
const ME: &str = r#"{"name":"alice","kind":"user"}"#;

fn client(script: &Script) -> Client {
    let config = ClientConfig { url: script.url(), token: Some(Token::new("t0")), ..ClientConfig::default() };
    Client::new(config).unwrap()
}

fn place() -> PutFile {
    PutFile::at(BucketName::parse("default").unwrap(), FileKey::parse("a b.csv").unwrap())
}

#[tokio::test]
async fn a_read_is_repeated_after_503_and_after_a_lost_connection() {
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", "");
    let script = Script::start(vec![busy, String::new(), json("200 OK", ME)]).await;
    assert_eq!(client(&script).me().await.unwrap().name.as_str(), "alice");
    assert_eq!(script.requests().len(), 3);
}

#[tokio::test]
async fn a_post_that_may_have_begun_is_not_repeated() {
    let script = Script::start(vec![String::new(), json("200 OK", ME)]).await;
    let error = client(&script).retry_run(&RunId::from_bytes([0; 32])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn what_is_gone_after_a_deletion_whose_answer_got_lost_is_deleted() {
    let absent = || json("404 Not Found", r#"{"status":404,"code":"not_found","detail":"no such file"}"#);
    let (bucket, key) = (BucketName::parse("default").unwrap(), FileKey::parse("a").unwrap());
    let script = Script::start(vec![String::new(), absent()]).await;
    client(&script).delete_at(&bucket, &key).await.unwrap();
    // Without such an attempt it never was there.
    let busy = answer("503 Service Unavailable", "Retry-After: 0\r\n", "");
    let script = Script::start(vec![busy, absent()]).await;
    assert_eq!(client(&script).delete_at(&bucket, &key).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_problem_document_becomes_the_error() {
    let problem = r#"{"status":404,"code":"not_found","detail":"no such run","request_id":"r7"}"#;
    let script = Script::start(vec![json("404 Not Found", problem)]).await;
    let error = client(&script).run(&RunId::from_bytes([0; 32])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "no such run (not_found, request r7)");
}

#[tokio::test]
async fn a_redirect_is_not_followed_with_the_token() {
    let script = Script::start(vec![answer("302 Found", "Location: http://127.0.0.1:1/\r\n", "")]).await;
    let error = client(&script).me().await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn what_is_not_usp_says_so() {
    let script = Script::start(vec![answer("200 OK", "Content-Type: text/html\r\n", "<html>")]).await;
    let error = client(&script).me().await.unwrap_err();
    assert!(error.to_string().contains("does not answer like usp"), "{error}");
}

#[tokio::test]
async fn nobody_listening_is_temporary_and_names_the_address() {
    let script = Script::start(Vec::new()).await;
    let client = client(&script);
    let url = script.url();
    drop(script);
    let error = client.sign_in(&UserName::parse("alice").unwrap(), "pw").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&url), "{error}");
}

#[tokio::test]
async fn a_file_is_sent_again_with_the_same_idempotency_key() {
    let mut source = tempfile::NamedTempFile::new().unwrap();
    source.write_all(b"a,b\n1").unwrap();
    let script = Script::start(vec![String::new(), json("201 Created", FILE)]).await;
    let sent = Arc::new(Mutex::new(Vec::new()));
    let body = PutBody::file(source.path()).on_progress({
        let sent = Arc::clone(&sent);
        Arc::new(move |bytes| sent.lock().unwrap().push(bytes))
    });
    let (file, is_new) = client(&script).put(&place(), body).await.unwrap();
    assert!(is_new && file.size == 5);
    let requests = script.requests();
    let [first, second] = requests.as_slice() else { unreachable!("two requests, not {requests:?}") };
    assert!(first.starts_with("PUT /api/v1/buckets/default/files/a%20b.csv HTTP/1.1\r\n"), "{first}");
    let key =
        |request: &str| request.lines().find(|line| line.starts_with("idempotency-key")).map(str::to_owned);
    assert!(key(first).is_some());
    assert_eq!(key(first), key(second));
    assert!(second.contains("content-length: 5\r\n") && second.ends_with("a,b\n1"), "{second}");
    assert_eq!(*sent.lock().unwrap(), [0, 5, 0, 5]);
}

#[tokio::test]
async fn a_stream_is_sent_once() {
    let script = Script::start(vec![String::new(), json("201 Created", FILE)]).await;
    let pieces = futures::stream::iter([Ok(Bytes::from_static(b"a,b")), Ok(Bytes::from_static(b"\n1"))]);
    let error = client(&script).put(&place(), PutBody::stream(pieces, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(script.requests().len(), 1);
}

#[tokio::test]
async fn a_source_that_fails_is_not_blamed_on_the_network() {
    let script = Script::start(vec![String::new()]).await;
    let pieces =
        futures::stream::iter([Ok(Bytes::from_static(b"a")), Err(std::io::Error::other("disk on fire"))]);
    let error = client(&script).put(&place(), PutBody::stream(pieces, None)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains("disk on fire"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_there_is_the_callers_error() {
    let script = Script::start(Vec::new()).await;
    let error = client(&script).put(&place(), PutBody::file("/nonexistent/x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/nonexistent/x"), "{error}");
}

#[tokio::test]
async fn content_found_corrupt_is_told_apart_from_a_server_that_failed() {
    let problem =
        |code: &str| json("500 Internal Server Error", &format!(r#"{{"status":500,"code":"{code}"}}"#));
    let script = Script::start(vec![problem("corrupt"), problem("internal")]).await;
    let file = FileRef::Key(place().bucket, place().key);
    for kind in [ErrorKind::Corrupt, ErrorKind::Internal] {
        assert_eq!(client(&script).read(&file, None).await.unwrap_err().kind(), kind);
    }
    assert_eq!(script.requests().len(), 2, "neither is worth a second try");
}

#[tokio::test]
async fn content_that_breaks_off_ends_in_an_error_after_its_bytes() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nRepr-Digest: \
               sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:\r\n\r\nhello";
    let script = Script::start(vec![cut.to_owned()]).await;
    let file = FileRef::Key(place().bucket, place().key);
    let content = client(&script).read(&file, Some("bytes=0-9")).await.unwrap();
    assert_eq!(content.size_bytes, Some(10));
    assert!(content.sha256.is_some() && !content.is_part);
    let pieces: Vec<_> = content.pieces.collect().await;
    let [.., last] = pieces.as_slice() else { unreachable!("at least the error") };
    assert_eq!(last.as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(script.requests()[0].contains("range: bytes=0-9\r\n"));
}

#[derive(Debug, Default)]
struct Renewing(Mutex<Vec<String>>);

#[async_trait]
impl TokenSource for Renewing {
    async fn token(&self) -> Result<Option<Token>, ClientError> {
        Ok(Some(Token::new("stale")))
    }

    async fn renew(&self, refused: &Token) -> Result<Option<Token>, ClientError> {
        self.0.lock().unwrap().push(refused.expose().to_owned());
        Ok(Some(Token::new("fresh")))
    }
}

#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let refused = json("401 Unauthorized", r#"{"code":"unauthenticated","detail":"expired"}"#);
    let script = Script::start(vec![refused.clone(), json("200 OK", ME), refused.clone(), refused]).await;
    let tokens = Arc::new(Renewing::default());
    let config = ClientConfig { url: script.url(), ..ClientConfig::default() };
    let client = Client::with_tokens(config, Arc::<Renewing>::clone(&tokens)).unwrap();
    client.me().await.unwrap();
    assert!(script.requests()[1].contains("authorization: Bearer fresh\r\n"));
    assert_eq!(client.me().await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    assert_eq!(script.requests().len(), 4);
    assert_eq!(*tokens.0.lock().unwrap(), ["stale", "stale"]);
}

#[tokio::test]
async fn events_go_on_after_a_break_where_they_ended() {
    let event = |id: u32| {
        format!(
            "id: {id}\ndata: {{\"specversion\":\"1.0\",\"id\":\"{id}\",\"source\":\"s\",\"type\":\"usp.file.ready\",\
             \"subject\":\"f\",\"time\":\"2026-01-01T00:00:00.000Z\",\"data\":{{}}}}\n\n"
        )
    };
    let stream = |body: String| answer("200 OK", "Content-Type: text/event-stream\r\n", &body);
    let script = Script::start(vec![
        stream(format!("retry: 1\n\n{}{}", event(1), event(2))),
        String::new(),
        stream(event(3)),
    ])
    .await;
    let events: Vec<_> = client(&script).events(EventFilter::default()).take(3).try_collect().await.unwrap();
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3"]);
    let requests = script.requests();
    assert!(!requests[0].contains("last-event-id"));
    assert!(requests[1].contains("last-event-id: 2\r\n") && requests[2].contains("last-event-id: 2\r\n"));
}

#[tokio::test]
async fn events_that_may_not_be_seen_end_at_once() {
    let denied = json("403 Forbidden", r#"{"code":"denied","detail":"no"}"#);
    let script = Script::start(vec![denied]).await;
    let error = client(&script).events(EventFilter::default()).next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
}
