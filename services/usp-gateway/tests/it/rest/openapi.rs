//! The document and the routes are one.

use std::collections::BTreeSet;

use axum::body::Body;
use serde_json::Value;

use super::{Rest, refused};

const METHODS: [&str; 7] = ["get", "head", "put", "post", "patch", "delete", "options"];

/// Method, path and operation of all operations.
fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                found.push((method.to_uppercase(), path.clone(), operation));
            }
        }
    }
    found
}

async fn document(rest: &Rest) -> Value {
    rest.ask("GET /openapi.json", &[], Body::empty()).await.json()
}

#[tokio::test]
async fn every_operation_declares_one_permission_and_asks_for_a_token_unless_it_is_public() {
    let rest = Rest::new();
    let document = document(&rest).await;
    let known: BTreeSet<&str> =
        usp_auth::Permission::ALL.iter().map(|permission| permission.as_str()).collect();
    let all = operations(&document);
    assert!(all.len() > 40, "{}", all.len());
    for (method, path, operation) in all {
        let declared = operation["x-usp-permission"].as_str().unwrap();
        let is_public = declared == "public";
        assert!(is_public || known.contains(declared), "{method} {path}: {declared}");
        let example = path.replace("{bucket}", "default").replace(['{', '}'], "");
        let answer = rest.ask(&format!("{method} {example}"), &[], Body::empty()).await;
        assert_eq!(answer.status == 401, !is_public, "{method} {path}: {}", answer.status);
        let has_security = !operation["security"].as_array().unwrap().is_empty();
        assert_eq!(has_security, !is_public, "{method} {path}");
        assert!(operation["responses"].get("default").is_some(), "{method} {path}");
    }
}

#[tokio::test]
async fn only_health_documentation_signing_in_and_the_version_of_tus_are_public() {
    let rest = Rest::new();
    let document = document(&rest).await;
    let public: BTreeSet<String> = operations(&document)
        .into_iter()
        .filter(|(_, _, operation)| operation["x-usp-permission"] == "public")
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let expected = [
        "GET /",
        "GET /docs",
        "GET /docs/{file}",
        "GET /livez",
        "GET /openapi.json",
        "GET /readyz",
        "OPTIONS /api/v1/uploads",
        "OPTIONS /api/v1/uploads/{upload_id}",
        "POST /api/v1/auth/token",
    ];
    assert_eq!(public, expected.map(str::to_owned).into());
}

#[tokio::test]
async fn the_document_is_openapi_3_1_and_whole() {
    let rest = Rest::new();
    let document = document(&rest).await;
    assert_eq!(document["openapi"], "3.1.0");
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut references = BTreeSet::new();
    collect_references(&document, &mut references);
    assert!(references.len() > 20);
    for reference in references {
        let name = reference.strip_prefix("#/components/schemas/").unwrap();
        assert!(schemas.contains_key(name), "{reference} leads nowhere");
    }
    assert!(schemas.keys().all(|name| !name.contains("Json")), "{:?}", schemas.keys());
    let ids: Vec<&str> = operations(&document)
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    for (method, path, operation) in operations(&document) {
        let named: BTreeSet<&str> = path.split(['{', '}']).skip(1).step_by(2).collect();
        let declared: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(declared, named, "{method} {path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(
                response["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{method} {path} {status}"
            );
        }
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
    }
}

fn collect_references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(text) if key == "$ref" => drop(found.insert(text.clone())),
                    value => collect_references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect_references(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere_and_runs_nothing_inline() {
    let rest = Rest::new();
    let page = rest.ask("GET /docs", &[], Body::empty()).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'") && policy.contains("object-src 'none'"), "{policy}");
    assert!(!page.text().contains("://") && !page.text().contains(" style="), "{}", page.text());
    for (file, media_type) in
        [("docs.js", "text/javascript; charset=utf-8"), ("docs.css", "text/css; charset=utf-8")]
    {
        assert!(page.text().contains(&format!("docs/{file}")));
        let asset = rest.ask(&format!("GET /docs/{file}"), &[], Body::empty()).await;
        assert_eq!((asset.status.as_u16(), asset.header("content-type")), (200, Some(media_type)));
        assert!(!asset.text().contains("innerHTML") && !asset.text().contains("://"), "{file}");
    }
    let absent = rest.ask("GET /docs/other.js", &[], Body::empty()).await;
    assert_eq!(absent.problem(), refused(404, "not_found"));
    let start = rest.ask("GET /", &[], Body::empty()).await;
    assert_eq!((start.status.as_u16(), start.header("location")), (307, Some("/docs")));
}
