use std::fmt::Write;

use serde_json::{Value, json};

use crate::stand::report;

fn profile(key: &str, content: &[u8]) -> Value {
    report("profile", json!({}), key, content)
}

#[test]
fn the_first_and_the_last_moment_are_found_however_they_are_written() {
    let content = b"day,at\n2024/01/05,2024-03-01T00:30+01:00\n 2024-12-31,2024-02-29T23:45Z\n2023-06-01,2024-02-29T23:00Z\n";
    let columns = profile("a.csv", content)["columns"].clone();
    assert_eq!((&columns[0]["min"], &columns[0]["max"]), (&json!("2023-06-01"), &json!("2024-12-31")));
    assert_eq!(
        (&columns[1]["min"], &columns[1]["max"]),
        (&json!("2024-02-29T23:00Z"), &json!("2024-02-29T23:45Z"))
    );
}

#[test]
fn a_table_is_profiled_column_by_column() {
    let content = b"id,name,price,when,ok\n1,Ann,1.5,2024-01-01,true\n2,Bob,NA,2024-02-01,false\n3,Ann,2.5,2023-01-01,\n";
    let report = profile("a.csv", content);
    assert_eq!(
        (&report["kind"], &report["rows"], &report["encoding"]),
        (&json!("csv"), &json!(3), &json!("utf-8"))
    );
    assert_eq!(
        report["dialect"],
        json!({"delimiter": ",", "quote": "\"", "line_ending": "lf", "has_header": true})
    );
    let columns = report["columns"].as_array().unwrap();
    let summary: Vec<Value> =
        columns.iter().map(|c| json!([c["name"], c["type"], c["nulls"], c["distinct"]])).collect();
    assert_eq!(
        summary,
        [
            json!(["id", "integer", 0, 3]),
            json!(["name", "string", 0, 2]),
            json!(["price", "float", 1, 2]),
            json!(["when", "date", 0, 3]),
            json!(["ok", "boolean", 1, 2]),
        ]
    );
    assert_eq!(columns[1]["top"], json!([{"value": "Ann", "count": 2}, {"value": "Bob", "count": 1}]));
    assert_eq!((&columns[2]["min"], &columns[2]["mean"]), (&json!(1.5), &json!(2.0)));
    assert_eq!((&columns[3]["min"], &columns[3]["max"]), (&json!("2023-01-01"), &json!("2024-02-01")));
    assert_eq!((&report["problems"], &report["truncated"]), (&json!([]), &json!(false)));
}

#[test]
fn encodings_and_dialects_do_not_change_the_profile() {
    let text = "id;größe\r\n1;groß\r\n2;klein\r\n";
    let utf16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_be_bytes).collect();
    let latin: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for (content, encoding) in [
        (text.as_bytes().to_vec(), "utf-8"),
        (format!("\u{feff}{text}").into_bytes(), "utf-8"),
        (utf16, "utf-16be"),
        (latin, "windows-1252"),
    ] {
        let report = profile("a.csv", &content);
        assert_eq!((&report["encoding"], &report["rows"]), (&json!(encoding), &json!(2)));
        assert_eq!(report["columns"][1]["name"], "größe");
        assert_eq!(report["columns"][1]["top"][0]["value"], "groß");
        assert_eq!(report["dialect"]["delimiter"], ";");
        assert_eq!(report["replaced"], 0);
    }
}

#[test]
fn rows_of_100_000_lines_equal_wc_minus_the_header() {
    let mut content = String::from("id,name,value\n");
    for n in 0..100_000_u32 {
        writeln!(content, "{n},name {},{}", n % 1_000, f64::from(n) / 8.0).unwrap();
    }
    let lines = content.bytes().filter(|&byte| byte == b'\n').count();
    let report = profile("a.csv", content.as_bytes());
    assert_eq!(report["rows"], lines - 1);
    let columns = report["columns"].as_array().unwrap();
    assert_eq!(columns[1]["distinct"], 1_000);
    assert_eq!(columns[0]["distinct_approximate"], true);
    let distinct = columns[0]["distinct"].as_f64().unwrap();
    assert!((95_000.0..105_000.0).contains(&distinct), "{distinct}");
    let median = columns[0]["quantiles"]["p50"].as_f64().unwrap();
    assert!((48_000.0..52_000.0).contains(&median), "{median}");
    assert_eq!((&columns[0]["min"], &columns[0]["max"]), (&json!(0), &json!(99_999)));
    assert_eq!(columns[0]["mean"].as_f64().unwrap().round(), 50_000.0);
}

#[test]
fn ragged_rows_are_counted_and_the_first_are_named() {
    let report = profile("a.csv", b"a,b\n1,2\n3\n4,5,6\n7,8\n");
    assert_eq!(
        (&report["rows"], &report["ragged_rows"], &report["problem_count"]),
        (&json!(4), &json!(2), &json!(2))
    );
    assert_eq!(
        report["problems"],
        json!([
            {"row": 2, "line": 3, "reason": "the row has 1 field, not 2"},
            {"row": 3, "line": 4, "reason": "the row has 3 fields, not 2"},
        ])
    );
}

#[test]
fn a_header_alone_is_a_table_without_rows() {
    let report = profile("a.csv", b"id,name\n");
    assert_eq!((&report["rows"], &report["columns"][1]["type"]), (&json!(0), &json!("empty")));
    assert_eq!(report["columns"][1]["min"], Value::Null);
}

#[test]
fn an_empty_file_is_a_text_of_no_lines_or_a_table_of_no_rows() {
    assert_eq!(profile("a", b"")["lines"], 0);
    let report = report("profile", json!({"format": "csv"}), "a.csv", b"");
    assert_eq!((&report["rows"], &report["columns"]), (&json!(0), &json!([])));
}

#[test]
fn columns_without_a_header_are_numbered_from_one() {
    let report = profile("a.csv", b"1,2\n3,4\n");
    assert_eq!((&report["rows"], &report["columns"][0]["name"]), (&json!(2), &json!("column_1")));
}

#[test]
fn parameters_overrule_what_the_head_says() {
    let with = json!({"format": "csv", "delimiter": "|", "header": false});
    let report = report("profile", with, "a.bin", b"a,b|c\nd,e|f\n");
    assert_eq!((&report["rows"], &report["columns"][0]["top"][0]["value"]), (&json!(2), &json!("a,b")));
}

#[test]
fn a_report_of_2_000_wide_columns_stays_under_its_limit() {
    let names: Vec<String> = (0..2_500).map(|n| format!("column number {n} {}", "é".repeat(100))).collect();
    let values: Vec<String> = (0..2_500).map(|n| format!("\u{1}{n}{}", "ü".repeat(200))).collect();
    let mut content = names.join(",");
    for _ in 0..3 {
        content.push('\n');
        content.push_str(&values.join(","));
    }
    let report = profile("a.csv", content.as_bytes());
    assert!(serde_json::to_vec(&report).unwrap().len() <= usp_model::limits::REPORT_BYTES_MAX);
    assert_eq!((&report["column_count"], &report["truncated"]), (&json!(2_500), &json!(true)));
}

#[test]
fn text_is_counted_in_lines_words_and_characters() {
    let report = profile("a.txt", "Grüße an alle\r\n\r\nEnde".as_bytes());
    assert_eq!(report["kind"], "text");
    let counts = ["lines", "words", "characters", "longest_line", "blank_lines"]
        .map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts, [3, 4, 21, 13, 1]);
    assert_eq!(report["line_ending"], "crlf");
}

#[test]
fn what_has_no_profile_says_so_without_failing() {
    let report = profile("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    assert_eq!(report["kind"], "unsupported");
}
