use xtask::deny;

use crate::planted::Repository;

const POLICY: &str = r#"
[graph]
targets = ["x86_64-unknown-linux-gnu"]
[licenses]
allow = ["MIT"]
[bans]
deny = [{ crate = "old:<0.2", reason = "it is too old" }]
"#;

fn repository() -> Repository {
    Repository::new()
        .with("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n")
        .with("Cargo.lock", "version = 4\n\n[[package]]\nname = \"old\"\nversion = \"0.1.0\"\n")
        .with("deny.toml", POLICY)
}

#[test]
fn a_banned_version_and_a_foreign_licence_are_found() {
    let repository = repository().with_package("crates/old", "license = \"GPL-3.0-only\"");
    let advice: Vec<String> =
        deny::check(repository.root()).unwrap().into_iter().map(|finding| finding.advice).collect();
    let licence = "get rid of old: its licence \"GPL-3.0-only\" is not on the list";
    assert_eq!(advice, ["get rid of old: it is too old", licence]);
}

#[test]
fn an_allowed_version_with_an_allowed_licence_passes() {
    let policy = POLICY.replace("<0.2", "<0.1.0");
    let repository = repository().with_package("crates/old", "license = \"MIT\"").with("deny.toml", &policy);
    assert!(deny::check(repository.root()).unwrap().is_empty());
}
