//! `multipart/form-data`: several files, fields between them, and what remains when one is refused.

use std::fmt::Write;

use serde_json::json;
use usp_model::LabelKey;

use super::{ADMIN, Answer, Rest, refused};

const BOUNDARY: &str = "content-type: multipart/form-data; boundary=XX";

#[derive(Default)]
struct Form(String);

impl Form {
    fn field(mut self, name: &str, value: &str) -> Self {
        write!(self.0, "--XX\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").unwrap();
        self
    }

    fn file(mut self, file_name: &str, content: &str) -> Self {
        let name = format!("name=\"file\"; filename=\"{file_name}\"");
        write!(self.0, "--XX\r\ncontent-disposition: form-data; {name}\r\ncontent-type: text/csv\r\n\r\n")
            .unwrap();
        write!(self.0, "{content}\r\n").unwrap();
        self
    }

    async fn post(self, rest: &Rest) -> Answer {
        let line = "POST /api/v1/buckets/default/files";
        rest.ask(line, &[ADMIN, BOUNDARY, "idempotency-key: job"], format!("{}--XX--\r\n", self.0)).await
    }
}

#[tokio::test]
async fn files_are_stored_one_after_another_under_prefix_and_key() {
    let rest = Rest::new();
    let form = Form::default()
        .field("prefix", "2026/")
        .file("a.csv", "a")
        .field("key", "named.csv")
        .field("meta.source", "form")
        .field("label.team", "billing")
        .field("rule", "tables")
        .file("b.csv", "bb")
        .file("c.csv", &"c".repeat(1 << 20));
    let answer = form.post(&rest).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let items = answer.json();
    let seen: Vec<_> = items["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| (file["key"].clone(), file["size"].clone()))
        .collect();
    assert_eq!(
        seen,
        [
            (json!("2026/a.csv"), json!(1)),
            (json!("2026/named.csv"), json!(2)),
            (json!("2026/c.csv"), json!(1 << 20)),
        ]
    );
    assert_eq!(items["items"][0]["labels"], json!({}));
    assert_eq!(items["items"][1]["metadata"], json!({"source": "form"}));
    let last = rest.storage.asked.lock().put.clone().unwrap();
    assert_eq!(last.idempotency_key.as_deref(), Some("job.3"));
    assert_eq!(last.rule.unwrap().as_str(), "tables");
    assert_eq!(last.labels.get(&LabelKey::parse("team").unwrap()).unwrap(), "billing");
}

#[tokio::test]
async fn a_refused_part_names_itself_and_what_was_stored_before() {
    let rest = Rest::new();
    let form =
        Form::default().file("a.csv", "a").file("fail/storage_full", &"b".repeat(1 << 20)).file("c.csv", "c");
    let answer = form.post(&rest).await;
    assert_eq!(answer.problem(), refused(507, "storage_full"));
    let problem = answer.json();
    assert_eq!(problem["part"], json!({"index": 1, "name": "file", "file_name": "fail/storage_full"}));
    assert_eq!(problem["items"].as_array().unwrap().len(), 1);
    assert_eq!(problem["items"][0]["key"], "a.csv");
    assert_eq!(rest.get("/api/v1/buckets/default/files/a.csv").await.status, 200);
    assert_eq!(rest.get("/api/v1/buckets/default/files/c.csv").await.status, 404);
}

#[tokio::test]
async fn forms_that_will_not_do_are_refused() {
    let rest = Rest::new();
    let table = [
        (Form::default(), 400, "invalid_input"),
        (Form::default().field("key", "a"), 400, "invalid_input"),
        (Form::default().field("colour", "red").file("a", "a"), 400, "invalid_input"),
        (Form::default().field("prefix", &"p".repeat(5000)).file("a", "a"), 413, "too_large"),
        (Form::default().file("../a", "a"), 400, "invalid_input"),
        (Form::default().field("file", "no name"), 400, "invalid_input"),
        (Form::default().field("label.a b", "x").file("a", "a"), 400, "invalid_input"),
    ];
    for (form, status, code) in table {
        let text = form.0.chars().take(80).collect::<String>();
        assert_eq!(form.post(&rest).await.problem(), refused(status, code), "{text}");
    }
    assert!(rest.storage.asked.lock().put.is_none());
}

#[tokio::test]
async fn a_file_input_in_which_nothing_was_chosen_is_passed_over() {
    let rest = Rest::new();
    let answer = Form::default().file("", "").file("a.csv", "a").file("", "").post(&rest).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(answer.json()["items"].as_array().unwrap().len(), 1);
    let nameless = Form::default().file("", "content").post(&rest).await;
    assert_eq!(nameless.problem(), refused(400, "invalid_input"));
}

#[tokio::test]
async fn what_is_no_form_is_refused() {
    let rest = Rest::new();
    let post = async |headers: &[&str], body: &'static str| {
        let line = "POST /api/v1/buckets/default/files";
        rest.ask(line, &[&[ADMIN], headers].concat(), body).await.problem()
    };
    assert_eq!(post(&[], "x").await, refused(415, "unsupported_media"));
    assert_eq!(post(&["content-type: text/csv"], "x").await, refused(415, "unsupported_media"));
    assert_eq!(post(&["content-type: multipart/form-data"], "x").await, refused(400, "invalid_input"));
    assert_eq!(post(&[BOUNDARY], "--XX\r\ncontent-disp").await, refused(400, "invalid_input"));
}

#[tokio::test]
async fn a_form_that_breaks_off_keeps_nothing_of_its_last_file() {
    let rest = Rest::new();
    let whole = Form::default().file("a.csv", "a").file("b.csv", "bbbb").0;
    let cut = whole.trim_end().trim_end_matches('b').to_owned();
    let answer = rest.ask("POST /api/v1/buckets/default/files", &[ADMIN, BOUNDARY], cut).await;
    assert_eq!(answer.problem(), refused(400, "invalid_input"));
    assert_eq!(answer.json()["items"][0]["key"], "a.csv");
    assert_eq!(rest.get("/api/v1/buckets/default/files/b.csv").await.status, 404);
}
