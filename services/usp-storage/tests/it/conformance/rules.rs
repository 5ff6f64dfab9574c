//! Rules that are written while storage runs.

use usp_api::NewFile;
use usp_model::{BucketPolicy, ErrorKind, FileState, Result, Rule, RuleName, RunOutcome};
use usp_storage::parse_rules;

use crate::support::{House, admin, bucket, key, rule};

facts! {
    a_written_rule_counts_from_the_next_commit_on,
    a_changed_rule_has_the_next_version_and_planned_runs_keep_theirs,
    a_deleted_rule_counts_no_more,
    a_rule_of_usp_can_be_replaced_and_comes_back,
    a_rule_in_a_file_goes_before_a_written_one,
    a_rule_that_is_not_valid_is_refused_and_changes_nothing,
    written_rules_outlive_a_reading_of_the_files,
    a_written_rule_that_is_not_taken_any_more_is_left_out_and_can_be_mended,
    runs_of_a_deleted_rule_keep_to_its_bound,
    a_bucket_that_names_a_deleted_rule_can_be_changed,
    an_upload_for_a_rule_that_was_deleted_waits_for_it,
}

fn written(when: &str) -> Rule {
    let yaml = format!("name: written\nwhen: {when}\nsteps: [{{name: only, uses: sniff}}]\n");
    parse_rules(&yaml).unwrap().remove(0)
}

async fn put(house: &House, rule: Rule) -> Result<(u32, bool)> {
    house.door.put_rule(&admin(), rule).await.map(|written| (written.rule.version, written.is_new))
}

async fn names(house: &House) -> Vec<RuleName> {
    house.door.list_rules(&admin()).await.unwrap().into_iter().map(|rule| rule.name).collect()
}

async fn a_written_rule_counts_from_the_next_commit_on(house: House) {
    assert_eq!(house.file("seen/a", b"x").await.state, FileState::Ready);
    assert_eq!(put(&house, written("file.key.startsWith('seen/')")).await.unwrap(), (1, true));
    assert!(names(&house).await.contains(&rule("written")));
    assert_eq!(house.file("other/a", b"x").await.state, FileState::Ready);
    let file = house.file("seen/b", b"x").await;
    assert_eq!(file.state, FileState::Processing);
    let leased = house.lease().await;
    assert_eq!((leased.file.id, leased.run.rule), (file.id, rule("written")));
}

async fn a_changed_rule_has_the_next_version_and_planned_runs_keep_theirs(house: House) {
    put(&house, written("file.size > 0")).await.unwrap();
    house.file("a", b"x").await;
    // What it explains is not what it means.
    let explained = Rule { description: "of all files".to_owned(), ..written("file.size > 0") };
    assert_eq!(put(&house, explained).await.unwrap(), (1, false));
    assert_eq!(put(&house, Rule { priority: 3, ..written("file.size > 1") }).await.unwrap(), (2, false));
    assert_eq!(house.lease().await.rule.version, 1);
    assert_eq!(house.door.get_rule(&admin(), rule("written")).await.unwrap().priority, 3);
}

async fn a_deleted_rule_counts_no_more(house: House) {
    put(&house, written("true")).await.unwrap();
    house.file("a", b"x").await;
    house.door.delete_rule(&admin(), rule("written")).await.unwrap();
    assert_eq!(house.file("b", b"x").await.state, FileState::Ready);
    assert_eq!(house.lease().await.run.rule, rule("written"), "what was planned is done");
    let again = house.door.delete_rule(&admin(), rule("written")).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::NotFound);
    // Its numbers go on, as runs point at them.
    assert_eq!(put(&house, written("file.size > 5")).await.unwrap(), (2, true));
}

async fn a_rule_of_usp_can_be_replaced_and_comes_back(house: House) {
    let of_usp = rule("of-usp");
    let refused = house.door.delete_rule(&admin(), of_usp.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let other = Rule { name: of_usp.clone(), ..written("false") };
    assert_eq!(put(&house, other).await.unwrap(), (2, false));
    assert_eq!(house.file("of-usp/a", b"x").await.state, FileState::Ready);
    house.door.delete_rule(&admin(), of_usp.clone()).await.unwrap();
    // Its meaning is another than that of version 2.
    assert_eq!(house.door.get_rule(&admin(), of_usp.clone()).await.unwrap().version, 3);
    assert_eq!(house.file("of-usp/b", b"x").await.state, FileState::Processing);
    assert_eq!(house.lease().await.rule.version, 3);
    let refused = house.door.delete_rule(&admin(), of_usp).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

async fn a_rule_in_a_file_goes_before_a_written_one(house: House) {
    let other = Rule { name: rule("audit"), ..written("false") };
    assert_eq!(put(&house, other).await.unwrap_err().kind(), ErrorKind::Conflict);
    let refused = house.door.delete_rule(&admin(), rule("audit")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert_eq!(house.file("audited/a", b"x").await.state, FileState::Processing);
    // Also one that comes later.
    put(&house, written("true")).await.unwrap();
    house.storage.replace_rules(vec![written("false")]).await.unwrap();
    assert_eq!(house.file("a", b"x").await.state, FileState::Ready);
    house.storage.replace_rules(Vec::new()).await.unwrap();
    assert_eq!(house.file("b", b"x").await.state, FileState::Processing);
}

async fn a_rule_that_is_not_valid_is_refused_and_changes_nothing(house: House) {
    put(&house, written("false")).await.unwrap();
    let unknown =
        parse_rules("name: written\nsteps: [{name: a, uses: sniff}, {name: b, uses: magic}]").unwrap();
    for (wrong, pointer) in [
        (written("file.size >"), "/when"),
        (Rule { steps: Vec::new(), ..written("true") }, "/steps"),
        (unknown[0].clone(), "/steps/1/uses"),
    ] {
        let refused = put(&house, wrong).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert_eq!(refused.violations()[0].pointer, pointer);
    }
    assert_eq!(house.door.get_rule(&admin(), rule("written")).await.unwrap().when, "false");
    assert_eq!(put(&house, written("false")).await.unwrap(), (1, false));
}

async fn written_rules_outlive_a_reading_of_the_files(house: House) {
    put(&house, written("true")).await.unwrap();
    house.storage.replace_rules(Vec::new()).await.unwrap();
    assert_eq!(names(&house).await, [rule("of-usp"), rule("written")]);
    assert_eq!(house.file("audited/a", b"x").await.state, FileState::Processing);
    house.door.delete_rule(&admin(), rule("written")).await.unwrap();
    assert_eq!(house.file("audited/b", b"x").await.state, FileState::Ready);
}

async fn a_written_rule_that_is_not_taken_any_more_is_left_out_and_can_be_mended(house: House) {
    for (name, body) in [
        ("wrong", r#"{"name":"wrong","when":"file.size >","steps":[{"name":"only","uses":"sniff"}]}"#),
        ("of-usp", r#"{"name":"of-usp","steps":[]}"#),
        ("unreadable", "{"),
    ] {
        house.leave_rule(name, body);
    }
    house.storage.replace_rules(Vec::new()).await.unwrap();
    assert_eq!(names(&house).await, [rule("of-usp")], "the one of usp stands for that of its name");
    assert_eq!(house.file("of-usp/a", b"x").await.state, FileState::Processing);
    for name in ["wrong", "unreadable"] {
        assert_eq!(put(&house, Rule { name: rule(name), ..written("false") }).await.unwrap(), (1, true));
    }
    house.door.delete_rule(&admin(), rule("of-usp")).await.unwrap();
    house.storage.replace_rules(Vec::new()).await.unwrap();
    assert_eq!(names(&house).await, ["of-usp", "unreadable", "wrong"].map(rule));
}

async fn runs_of_a_deleted_rule_keep_to_its_bound(house: House) {
    put(&house, Rule { concurrency: Some(1), ..written("true") }).await.unwrap();
    for at in ["a", "b"] {
        house.file(at, b"x").await;
    }
    house.door.delete_rule(&admin(), rule("written")).await.unwrap();
    let first = house.lease().await;
    assert!(house.lease_now().await.is_empty(), "one at a time");
    house.report(&first, Vec::new(), Some(RunOutcome::Succeeded)).await;
    assert_ne!(house.lease().await.file.id, first.file.id);
}

async fn a_bucket_that_names_a_deleted_rule_can_be_changed(house: House) {
    put(&house, written("true")).await.unwrap();
    let names = |names: &[&str]| BucketPolicy {
        rules: Some(names.iter().map(|name| rule(name)).collect()),
        ..BucketPolicy::default()
    };
    house.bucket("named", names(&["written"])).await;
    house.door.delete_rule(&admin(), rule("written")).await.unwrap();
    let changed = BucketPolicy { quota_bytes: Some(9), ..names(&["written", "audit"]) };
    house.door.update_bucket(&admin(), bucket("named"), changed).await.unwrap();
    let unknown = house.door.update_bucket(&admin(), bucket("named"), names(&["nothing"])).await;
    assert_eq!(unknown.unwrap_err().kind(), ErrorKind::InvalidInput);
}

async fn an_upload_for_a_rule_that_was_deleted_waits_for_it(house: House) {
    put(&house, written("false")).await.unwrap();
    let file = NewFile { rule: Some(rule("written")), ..NewFile::at(bucket("default"), key("a")) };
    let upload = house.door.start_upload(&admin(), file).await.unwrap();
    house.door.delete_rule(&admin(), rule("written")).await.unwrap();
    let refused = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    put(&house, written("false")).await.unwrap();
    let file = house.door.finish_upload(&admin(), upload.id, Vec::new()).await.unwrap().file;
    assert_eq!(file.state, FileState::Processing);
}
