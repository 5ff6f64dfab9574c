use serde_json::{Value, json};

use crate::stand::report;

fn profile(key: &str, content: &[u8]) -> Value {
    report("profile", json!({}), key, content)
}

#[test]
fn a_document_is_profiled_by_path() {
    let report = profile("a.json", br#"{"items": [{"n": 1}, {"n": 2.5}], "ok": true}"#);
    assert_eq!(
        (&report["kind"], &report["valid"], &report["root"]),
        (&json!("json"), &json!(true), &json!("object"))
    );
    assert_eq!(report["depth_max"], 3);
    assert_eq!(
        report["values"],
        json!({"objects": 3, "arrays": 1, "strings": 0, "numbers": 2, "booleans": 1, "nulls": 0})
    );
    let paths: Vec<&Value> = report["paths"].as_array().unwrap().iter().map(|path| &path["path"]).collect();
    assert_eq!(paths, ["$", "$.items", "$.items[]", "$.items[].n", "$.ok"]);
    assert_eq!(report["paths"][3]["max"], 2.5);
}

#[test]
fn broken_documents_say_where() {
    let report = profile("a.json", b"{\"a\": 1,\n \"b\": tru}");
    assert_eq!(report["valid"], false);
    assert_eq!((&report["error"]["line"], &report["error"]["column"]), (&json!(2), &json!(10)));
}

#[test]
fn a_hundred_thousand_open_brackets_are_a_problem_not_a_crash() {
    let report = profile("a.json", "[".repeat(100_000).as_bytes());
    assert_eq!(report["valid"], false);
    assert_eq!(report["error"]["reason"], "the value is nested deeper than 1,000 levels");
}

#[test]
fn bytes_that_are_not_utf_8_make_json_invalid() {
    let mut content = "{\"a\": \"ééééééééééééééééééééééééééééé".as_bytes().to_vec();
    content.extend_from_slice(b"\xff\"}");
    let report = profile("a.json", &content);
    assert_eq!((&report["valid"], &report["replaced"]), (&json!(false), &json!(1)));
}

#[test]
fn json_is_never_taken_for_an_older_charset() {
    let latin = b"{\"name\": \"Gr\xfc\xdfe aus K\xf6ln\", \"town\": \"D\xfcren\"}\n";
    let document = profile("a.json", latin);
    assert_eq!((&document["valid"], &document["encoding"]), (&json!(false), &json!("utf-8")));
    let reason = "4 byte sequences are not utf-8, the first at byte 12";
    assert_eq!(document["error"], json!({"line": null, "column": null, "reason": reason}));

    let lines = report("profile", json!({"format": "ndjson"}), "a.ndjson", latin);
    assert_eq!((&lines["valid"], &lines["problem_count"]), (&json!(false), &json!(1)));
    assert_eq!(lines["problems"][0]["reason"], reason);
}

#[test]
fn utf_16_is_json_too() {
    let text = "{\"name\": \"Grüße\"}";
    let bytes = |little: bool| -> Vec<u8> {
        let units = text.encode_utf16();
        units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
    };
    for content in [bytes(true), bytes(false), ["\u{feff}".as_bytes(), text.as_bytes()].concat()] {
        assert_eq!(report("profile", json!({"format": "json"}), "a.json", &content)["valid"], true);
    }
}

#[test]
fn bad_lines_are_counted_among_good_ones() {
    let report = profile("a.ndjson", b"{\"a\": 1}\n\n{\"a\": }\n{\"a\": \"x\"}\n{\"a\"");
    let counts =
        ["lines", "valid_lines", "blank_lines", "problem_count"].map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [5, 2, 1, 2]);
    assert_eq!(report["problems"][0], json!({"line": 3, "column": 7, "reason": "a value is expected"}));
    assert_eq!(report["problems"][1]["line"], 5);
    assert_eq!(report["paths"][1]["types"], json!({"number": 1, "string": 1}));
}
