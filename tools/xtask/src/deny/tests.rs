use super::*;

fn policy() -> Policy {
    Policy::parse(
        r#"
        [licenses]
        allow = ["MIT", "ISC", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        [bans]
        deny = [{ crate = "ring", reason = "one provider" }, { crate = "h2:<0.4.4", reason = "flood" }]
        "#,
    )
    .unwrap()
}

#[test]
fn a_licence_expression_passes_when_allowed_words_suffice() {
    let policy = policy();
    for expression in [
        "MIT",
        "Unlicense OR MIT",
        "Unlicense/MIT",
        "Apache-2.0 / MIT",
        "ISC AND (GPL-3.0 OR MIT)",
        "Apache-2.0 WITH LLVM-exception",
        "GPL-3.0 AND ISC OR MIT",
    ] {
        assert!(policy.allows(expression), "{expression}");
    }
    for expression in
        ["", "GPL-3.0", "MIT AND GPL-3.0", "ISC AND (GPL-3.0 OR MPL-2.0)", "(MIT", "MIT MIT", "MIT WITH x"]
    {
        assert!(!policy.allows(expression), "{expression}");
    }
}

#[test]
fn a_line_of_the_graph_is_name_version_source_and_licence() {
    let package = Package::parse("h2 v0.4.20-rc.1|MIT (*)").unwrap();
    let version = vec![0, 4, 20];
    assert_eq!(package, Package { name: "h2".into(), version, license: "MIT".into(), source: String::new() });
    assert_eq!(Package::parse("derive v1.0.0 (proc-macro)|MIT").unwrap().source, "");
    assert_eq!(
        Package::parse("x v1.0.0 (https://example.org/x?rev=1#1)|MIT").unwrap().source,
        "https://example.org/x?rev=1#1"
    );
    assert_eq!(Package::parse(""), None);
}

#[test]
fn bans_floors_and_foreign_sources_are_refused() {
    let policy = policy();
    let refuses = |line: &str| !policy.refuses(&Package::parse(line).unwrap()).is_empty();
    assert!(refuses("ring v0.17.14|ISC"));
    assert!(refuses("h2 v0.4.3|MIT"));
    assert!(refuses("x v1.0.0 (https://example.org/x#1)|MIT"));
    assert!(refuses("x v1.0.0 (registry `elsewhere`)|MIT"));
    assert!(!refuses("h2 v0.4.4|MIT"));
    assert!(!refuses("h2 v0.4.10|MIT"));
    assert!(!refuses("ringbuf v0.4.0|MIT"));
    assert!(!refuses("usp-model v0.1.0 (/work/usp/crates/usp-model)|MIT"));
}

#[test]
fn a_ban_that_would_not_be_understood_is_an_error() {
    assert!(Policy::parse(r#"bans.deny = [{ crate = "h2@0.4.3", reason = "flood" }]"#).is_err());
    assert!(Policy::parse(r#"bans.deny = [{ crate = "h2" }]"#).is_err());
}
