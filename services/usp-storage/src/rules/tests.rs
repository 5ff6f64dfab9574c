use serde_json::json;
use usp_api::NewFile;
use usp_model::{BucketName, BucketPolicy, FileKey, LabelKey, MediaType, Release, UserName};

use super::*;

fn facts(media_type: &str, size: u64) -> Facts {
    facts_of("orders.csv", "csv", media_type, size)
}

fn facts_of(name: &str, extension: &str, media_type: &str, size: u64) -> Facts {
    let key = FileKey::parse(&format!("a/{name}")).unwrap();
    assert_eq!(key.extension().unwrap_or_default(), extension);
    let mut file = NewFile::at(BucketName::parse("default").unwrap(), key);
    file.labels = [(LabelKey::parse("team").unwrap(), "sales".to_owned())].into();
    let owner = UserName::parse("alice").unwrap();
    Facts::of_new(&file, &owner, &MediaType::parse(media_type).unwrap(), size)
}

fn book(when: &str) -> Result<RuleBook> {
    let yaml = format!("name: t\nwhen: {}\nsteps: [{{name: sniff, uses: sniff}}]", json!(when));
    RuleBook::compile(parse_rules(&yaml)?)
}

fn matches(when: &str) -> Result<bool> {
    book(when)?.matches(&RuleName::parse("t")?, &facts("text/csv", 10))
}

#[test]
fn conditions_see_the_file() {
    for when in [
        "file.media_type == 'text/csv'",
        "file.size < 11 && file.extension == 'csv'",
        "file.key.startsWith('a/')",
        "file.labels.team == 'sales'",
        "'team' in file.labels && !('x' in file.metadata)",
    ] {
        assert!(matches(when).unwrap(), "{when}");
    }
    assert!(!matches("file.size > 10").unwrap());
}

#[test]
fn a_condition_that_fails_does_not_match_and_says_why() {
    for when in ["file.labels.nothing == 'x'", "file.size", "1 + 'a' == 2"] {
        assert_eq!(matches(when).unwrap_err().kind(), ErrorKind::InvalidInput, "{when}");
        let plan = book(when).unwrap().plan(&BucketPolicy::default(), &facts("text/csv", 1), None).unwrap();
        assert!(plan.0.is_empty());
    }
}

#[test]
fn the_facts_of_a_file_are_those_that_conditions_may_speak_of() {
    let facts = serde_json::to_value(facts("text/csv", 1)).unwrap();
    let mut named: Vec<&str> = facts.as_object().unwrap().keys().map(String::as_str).collect();
    let mut known = Facts::NAMES.to_vec();
    named.sort_unstable();
    known.sort_unstable();
    assert_eq!(named, known);
}

#[test]
fn a_condition_that_is_no_cel_is_refused_with_a_pointer() {
    let error = book("file.size >").unwrap_err();
    assert_eq!(error.violations()[0].pointer, "/when");
}

#[test]
fn the_built_in_rules_compile_and_take_tables_and_texts() {
    let book = RuleBook::compile(built_in_rules().unwrap()).unwrap();
    for media_type in
        ["text/csv", "text/tab-separated-values", "application/json", "application/x-ndjson", "text/plain"]
    {
        let nameless = facts_of("orders", "", media_type, 1);
        let (runs, release) = book.plan(&BucketPolicy::default(), &nameless, None).unwrap();
        assert_eq!((runs.len(), release), (1, Release::Immediate), "{media_type}");
    }
    let image = facts_of("a.png", "png", "image/png", 1);
    assert!(book.plan(&BucketPolicy::default(), &image, None).unwrap().0.is_empty());
}

#[test]
fn what_calls_itself_a_table_but_is_none_still_gets_its_report() {
    let book = RuleBook::compile(built_in_rules().unwrap()).unwrap();
    let broken = facts("application/octet-stream", 1);
    assert_eq!(book.plan(&BucketPolicy::default(), &broken, None).unwrap().0.len(), 1);
}

#[test]
fn a_bucket_can_switch_rules_off_but_a_wanted_rule_still_runs() {
    let book = book("true").unwrap();
    let policy = BucketPolicy { rules: Some(Vec::new()), ..BucketPolicy::default() };
    assert!(book.plan(&policy, &facts("text/csv", 1), None).unwrap().0.is_empty());
    let wanted = RuleName::parse("t").unwrap();
    assert_eq!(book.plan(&policy, &facts("text/csv", 1), Some(&wanted)).unwrap().0.len(), 1);
}
