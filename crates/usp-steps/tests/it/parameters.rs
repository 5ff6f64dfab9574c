#![expect(clippy::unwrap_used, reason = "a step that can be built here is a failed test")]

use serde_json::{Value, json};
use usp_model::ErrorKind;

use crate::stand::parameters;

fn pointers(uses: &str, with: Value) -> Vec<String> {
    let error = usp_steps::build(uses, &parameters(with)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    error.violations().iter().map(|violation| violation.pointer.clone()).collect()
}

#[test]
fn wrong_parameters_are_all_named() {
    let columns = json!([
        {"name": "age", "type": "number"},
        {"type": "integer"},
        {"name": "when", "type": "date", "min": "yesterday", "max": "2024-01-01", "colour": "red"},
        {"name": "n", "type": "integer", "min": 5, "max": 1},
        {"name": "n"},
        {"name": "s", "min": 1},
        7,
    ]);
    assert_eq!(
        pointers(
            "validate",
            json!({"columns": columns, "errors_max": 5_000, "on_invalid": "shrug", "x/y": 1})
        ),
        [
            "/with/columns/0/type",
            "/with/columns/1/name",
            "/with/columns/2/min",
            "/with/columns/2/colour",
            "/with/columns/3/max",
            "/with/columns/4/name",
            "/with/columns/5/min",
            "/with/columns/6",
            "/with/columns/6/name",
            "/with/errors_max",
            "/with/on_invalid",
            "/with/x~1y",
        ]
    );
}

#[test]
fn each_step_refuses_what_it_does_not_know() {
    assert_eq!(pointers("shred", json!({})), ["/uses"]);
    assert_eq!(pointers("sniff", json!({"deep": true})), ["/with/deep"]);
    assert_eq!(pointers("digest", json!({"algorithms": []})), ["/with/algorithms"]);
    assert_eq!(
        pointers("digest", json!({"algorithms": ["sha256", "sha1", "sha256"]})),
        ["/with/algorithms/1", "/with/algorithms/2"]
    );
    assert_eq!(
        pointers("profile", json!({"format": "xml", "delimiter": ",,"})),
        ["/with/format", "/with/delimiter"]
    );
    assert_eq!(pointers("validate", json!({})), ["/with/columns"]);
    assert_eq!(pointers("validate", json!({"encoding": "utf-9"})), ["/with/encoding"]);
}

#[test]
fn a_schema_is_compiled_when_the_step_is_built() {
    assert_eq!(pointers("validate", json!({"schema": {"type": "integre"}})), ["/with/schema/type"]);
    assert_eq!(pointers("validate", json!({"schema": "string"})), ["/with/schema"]);
    let remote = json!({"schema": {"$ref": "https://example.com/schema.json"}});
    assert_eq!(pointers("validate", remote).len(), 1, "nothing is fetched");
    let both = json!({"schema": {"type": "object"}, "columns": [{"name": "a"}]});
    assert_eq!(pointers("validate", both), ["/with/schema"]);
}

#[test]
fn names_lists_the_steps_that_build_knows() {
    for name in usp_steps::names() {
        let with = if *name == "validate" { json!({"encoding": "utf-8"}) } else { json!({}) };
        assert!(usp_steps::build(name, &parameters(with)).is_ok(), "{name}");
    }
}
