#![expect(clippy::unwrap_used, clippy::panic, reason = "what the property refuses is a failed test")]

use proptest::prelude::*;
use serde_json::{Value, json};
use usp_steps::StepError;

use crate::stand::{Repeated, report, run, step};

/// Every step with each way to configure it.
fn all() -> Vec<(&'static str, Value)> {
    let columns = json!([{"name": "a", "type": "integer", "min": 1}, {"name": "b", "type": "datetime"}]);
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "format": "date"}}});
    let mut all = vec![
        ("sniff", json!({})),
        ("digest", json!({"algorithms": ["crc32c"]})),
        ("profile", json!({})),
        ("validate", json!({"encoding": "utf-16le"})),
        ("validate", json!({"columns": columns, "header": false, "on_invalid": "report"})),
    ];
    for format in ["csv", "tsv", "json", "ndjson", "text"] {
        all.push(("profile", json!({"format": format})));
    }
    for format in ["csv", "tsv"] {
        all.push(("validate", json!({"format": format, "columns": columns, "strict_columns": true})));
    }
    for format in ["json", "ndjson"] {
        all.push(("validate", json!({"format": format, "schema": schema})));
    }
    all
}

/// A step may refuse a file; it may not fail in another way, and its report stays under its limit.
fn holds(uses: &str, with: &Value, content: &[u8]) {
    let result = run(step(uses, with.clone()).as_ref(), "a.csv", &mut &content[..]);
    let report = match result {
        Ok(output) => output.report.unwrap(),
        Err(StepError::Invalid { report, reason }) => {
            assert!(!reason.is_empty());
            report
        }
        Err(other) => panic!("{uses} {with}: {other:?}"),
    };
    assert!(serde_json::to_vec(&report).unwrap().len() <= usp_model::limits::REPORT_BYTES_MAX);
}

/// What the grammars turn on, in any order.
const TOKENS: &[&[u8]] = &[
    b",",
    b";",
    b"\t",
    b"\"",
    b"'",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b"\xff",
    b"\xc3",
    b"\xc3\xa9",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"\"a\"",
    b"\\u12",
    b"1e999",
    b"-12.5",
    b"2024-02-30",
    b"2024-02-29T10:00+99",
    b"99999999999999999999",
    b"NA",
    b"true",
    b"PK\x03\x04",
    b"word",
    b" ",
];

fn texts() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(TOKENS), 0..60).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn no_bytes_make_a_step_panic(content in prop::collection::vec(any::<u8>(), 0..600)) {
        for (uses, with) in all() {
            holds(uses, &with, &content);
        }
    }

    #[test]
    fn no_text_makes_a_step_panic(content in texts()) {
        for (uses, with) in all() {
            holds(uses, &with, &content);
        }
    }
}

#[test]
fn an_empty_file_is_no_trouble_for_any_step() {
    for (uses, with) in all() {
        holds(uses, &with, b"");
    }
}

#[test]
fn known_traps_are_survived_by_every_step() {
    for content in [
        [b"a,\"".to_vec(), b"x,y\n".repeat(500_000)].concat(),
        b"[".repeat(100_000),
        b"{\"a\":".repeat(50_000),
        b"\0".repeat(100_000),
        b"\xff".repeat(100_000),
        b"x".repeat(3_000_000),
        b",".repeat(1_000_000),
        b"\n".repeat(100_000),
        b"\"".repeat(100_001),
        b"1".repeat(100_000),
        b"\x1f\x8b\x08".repeat(10),
    ] {
        for (uses, with) in all() {
            holds(uses, &with, &content);
        }
    }
}

#[test]
fn an_open_quote_is_a_problem_of_the_row_it_begins_in() {
    let content = [b"a,b\n1,2\n3,\"".to_vec(), b"x,y\n".repeat(1_000_000)].concat();
    let report = report("profile", json!({}), "a.csv", &content);
    assert_eq!((&report["rows"], &report["problems"][0]["row"]), (&json!(2), &json!(2)));
    assert_eq!(report["problems"][0]["reason"], "a quote is opened and never closed");
}

#[test]
fn nul_bytes_in_a_table_are_told() {
    let report = report("profile", json!({"format": "csv"}), "a.csv", b"a,b\n1,\0\n");
    assert_eq!(report["problems"][0]["reason"], "the table contains 1 NUL character");
}

/// The most that this process ever held, in KiB. Absent where tests share a process (`cargo test`): other tests would
/// be measured too.
fn resident_kib() -> Option<u64> {
    std::env::var_os("NEXTEST")?;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[test]
fn memory_does_not_grow_with_the_content() {
    let mut block = String::new();
    for n in 0..2_000 {
        block.push_str(&format!("{n},name {n},{}.5,2024-01-{:02}\n", n * 7, n % 28 + 1));
    }
    let before = resident_kib();
    let blocks = (24 << 20) / block.len() as u64;
    let mut content = Repeated::new(block, blocks);
    let report = run(step("profile", json!({})).as_ref(), "a.csv", &mut content).unwrap().report.unwrap();
    assert_eq!(report["rows"], 2_000 * blocks);
    if let (Some(before), Some(after)) = (before, resident_kib()) {
        assert!(after - before < 12 << 10, "24 MiB of content took {} KiB", after - before);
    }
}

#[test]
fn a_row_of_24_mib_without_a_line_ending_takes_bounded_memory() {
    for (uses, with, block) in [
        ("profile", json!({"format": "csv"}), "abcdefgh"),
        ("profile", json!({"format": "csv"}), "a,b,c,d,"),
        ("profile", json!({"format": "ndjson"}), "[[1],[2],"),
        ("profile", json!({"format": "text"}), "some words "),
    ] {
        let before = resident_kib();
        let mut content = Repeated::new(block, (24 << 20) / block.len() as u64);
        run(step(uses, with).as_ref(), "a.csv", &mut content).unwrap();
        if let (Some(before), Some(after)) = (before, resident_kib()) {
            assert!(after - before < 16 << 10, "{block}: {} KiB", after - before);
        }
    }
}
