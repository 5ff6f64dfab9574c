use serde_json::{Value, json};
use usp_steps::StepError;

use crate::stand::{report, run, step};

fn people(extra: Value) -> Value {
    let with = json!({"columns": [
        {"name": "name", "type": "string", "nullable": false},
        {"name": "age", "type": "integer", "min": 0, "max": 150},
        {"name": "born", "type": "date", "min": "1900-01-01", "required": false},
    ]});
    merged(with, extra)
}

fn merged(mut with: Value, extra: Value) -> Value {
    if let (Value::Object(with), Value::Object(extra)) = (&mut with, extra) {
        with.extend(extra);
    }
    with
}

fn reported(with: Value, key: &str, content: &[u8]) -> Value {
    report("validate", merged(with, json!({"on_invalid": "report"})), key, content)
}

#[test]
fn a_file_that_keeps_its_columns_is_valid() {
    let report = report("validate", people(json!({})), "a.csv", b"name,age,born\nAnn,36,1988-02-29\nBob,,\n");
    assert_eq!(
        report,
        json!({"valid": true, "rows": 2, "invalid_rows": 0, "errors": [], "error_count": 0, "truncated": false})
    );
}

#[test]
fn a_file_that_does_not_fails_with_a_sentence_and_a_report() {
    let content = format!("name,age\n{}Ann,x\nAnn,151\n,7\n", "Bob,42\n".repeat(997));
    let error =
        run(step("validate", people(json!({}))).as_ref(), "a.csv", &mut content.as_bytes()).unwrap_err();
    let StepError::Invalid { reason, report } = error else { panic!("{error:?}") };
    assert_eq!(reason, "3 of 1,000 rows are invalid: row 998, column 'age': 'x' is not an integer");
    let reasons: Vec<&Value> =
        report["errors"].as_array().unwrap().iter().map(|error| &error["reason"]).collect();
    assert_eq!(reasons, ["'x' is not an integer", "151 is greater than 150", "a value is missing"]);
    assert_eq!(
        report["errors"][0],
        json!({"row": 998, "line": 999, "column": "age", "reason": "'x' is not an integer", "value": "x"})
    );
}

#[test]
fn missing_and_undeclared_columns_are_told() {
    let report = reported(people(json!({"strict_columns": true})), "a.csv", b"name,colour\nAnn,red\n");
    let told: Vec<Value> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| json!([error["column"], error["reason"]]))
        .collect();
    assert_eq!(
        told,
        [json!(["colour", "no such column is declared"]), json!(["age", "the column is missing"])]
    );
    let lenient = reported(people(json!({})), "a.csv", b"colour,age,name\nred,1,Ann\n");
    assert_eq!(lenient["valid"], true);
}

#[test]
fn columns_without_a_header_go_by_position() {
    let report = reported(people(json!({"header": false})), "a.csv", b"Ann,36\nBob,x\n");
    assert_eq!((&report["rows"], &report["errors"][0]["row"]), (&json!(2), &json!(2)));
}

#[test]
fn the_list_of_errors_is_bounded_and_the_count_is_not() {
    let content = format!("name,age\n{}", "Ann,x\n".repeat(5_000));
    let report = reported(people(json!({"errors_max": 7})), "a.csv", content.as_bytes());
    assert_eq!((report["errors"].as_array().unwrap().len(), &report["error_count"]), (7, &json!(5_000)));
    assert_eq!(report["truncated"], true);
    let long = "\u{1}".repeat(500);
    let content = format!("name,age\n{}", format!("Ann,{long}\n").repeat(2_000));
    let report = reported(people(json!({"errors_max": 1_000})), "a.csv", content.as_bytes());
    assert!(serde_json::to_vec(&report).unwrap().len() <= usp_model::limits::REPORT_BYTES_MAX);
}

#[test]
fn ragged_and_malformed_rows_are_invalid() {
    let report = reported(people(json!({})), "a.csv", b"name,age\nAnn\n\"Bob,3\n");
    let reasons: Vec<&Value> =
        report["errors"].as_array().unwrap().iter().map(|error| &error["reason"]).collect();
    assert_eq!(
        reasons,
        ["the row has 1 field, not 2", "a quote is opened and never closed", "the row has 1 field, not 2"]
    );
    assert_eq!(report["invalid_rows"], 2);
}

#[test]
fn namibia_is_a_string_and_not_an_absence() {
    let with = json!({"columns": [{"name": "country", "type": "string", "nullable": false}]});
    assert_eq!(reported(with, "a.csv", b"country\nNA\n")["valid"], true);
    let with = json!({"columns": [{"name": "n", "type": "integer", "nullable": false}]});
    assert_eq!(reported(with, "a.csv", b"n\nNA\n")["errors"][0]["reason"], "a value is missing");
}

#[test]
fn an_encoding_is_checked_to_the_byte() {
    let with = json!({"encoding": "utf-8"});
    assert_eq!(reported(with.clone(), "a.txt", "Grüße".as_bytes())["valid"], true);
    let report = reported(with.clone(), "a.txt", b"Gr\xfc\xdfe");
    assert_eq!(report["errors"][0]["reason"], "2 byte sequences are not utf-8, the first at byte 2");
    let report = reported(with, "a.txt", b"\xff\xfeG\0");
    assert_eq!(report["errors"][0]["reason"], "the byte order mark says UTF-16LE, not UTF-8");
}

#[test]
fn a_document_is_checked_against_its_schema() {
    let schema = json!({"schema": {
        "type": "object", "required": ["id"],
        "properties": {"id": {"type": "integer"}, "tags": {"type": "array", "items": {"type": "string"}}},
    }});
    assert_eq!(reported(schema.clone(), "a.json", b"{\"id\": 1, \"tags\": []}")["valid"], true);
    let report = reported(schema.clone(), "a.json", b"{\"tags\": [\"a\", 7]}");
    let told: Vec<Value> = report["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| json!([error["column"], error["value"]]))
        .collect();
    assert!(told.contains(&json!(["/tags/1", 7])) && told.contains(&json!(["", null])), "{report}");
    let report = reported(schema.clone(), "a.json", b"{\"id\": ");
    assert_eq!(report["errors"][0]["reason"], "not JSON: line 1, column 8: the text ends inside a value");
    let report = reported(schema, "a.ndjson", b"{\"id\": 1}\n\n{\"id\": \"x\"}\nnope\n");
    assert_eq!((&report["rows"], &report["invalid_rows"]), (&json!(3), &json!(2)));
    assert_eq!((&report["errors"][0]["row"], &report["errors"][0]["line"]), (&json!(2), &json!(3)));
}

#[test]
fn a_document_that_would_swell_in_memory_is_refused() {
    let with = json!({"schema": {"type": "array"}});
    let content = format!("[{}1]", "1,".repeat(1_200_000));
    let report = reported(with, "a.json", content.as_bytes());
    assert_eq!(report["errors"][0]["reason"], "1,200,002 values are more than a schema is checked against");
}

#[test]
fn what_is_not_a_table_is_invalid_not_a_crash() {
    let report = reported(people(json!({})), "a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    assert_eq!(report["errors"][0]["reason"], "the file is of an unknown type, not a table");
}

#[test]
fn a_line_that_is_mostly_blanks_is_not_passed_over() {
    let line = [vec![b' '; 16 << 20], b"{\"id\": \"bad\"}\n{\"id\": 1}\n".to_vec()].concat();
    let schema = json!({"schema": {"properties": {"id": {"type": "integer"}}}});
    let report = reported(schema, "a.ndjson", &line);
    assert_eq!(
        (&report["valid"], &report["rows"], &report["invalid_rows"]),
        (&json!(false), &json!(2), &json!(1))
    );
}

#[test]
fn a_document_in_an_older_charset_fails_its_schema_unless_the_charset_was_declared() {
    let latin = b"{\"name\": \"Gr\xfc\xdfe\"}";
    let schema = json!({"schema": {"type": "object"}, "format": "json"});
    assert_eq!(reported(schema.clone(), "a.json", latin)["valid"], false);
    let declared = merged(schema, json!({"encoding": "windows-1252"}));
    assert_eq!(reported(declared, "a.json", latin)["valid"], true);
}
