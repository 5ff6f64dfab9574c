use xtask::arrows;

use crate::planted::{Repository, places};

const TABLE: &str = "usp-model: -\nusp-api: usp-model\nusp: *\n!clap*: usp tools/\n";

fn repository() -> Repository {
    Repository::new()
        .with(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\", \"services/*\", \"tools/*\"]\n",
        )
        .with_package("tools/xtask", "")
        .with("tools/xtask/arrows.txt", TABLE)
        .with_package("crates/usp-model", "")
        .with_package("crates/usp-api", "[dependencies]\nusp-model = { path = \"../usp-model\" }")
        .with_package(
            "services/usp",
            "[dependencies]\nusp-api = { path = \"../../crates/usp-api\" }\nclap = \"4\"",
        )
        .with_package(
            "tools/testkit",
            "[dependencies]\nusp-model = { path = \"../../crates/usp-model\" }\nclap = \"4\"",
        )
}

#[test]
fn what_the_table_lists_is_allowed() {
    let tools = "[dev-dependencies]\ntestkit = { path = \"../../tools/testkit\" }";
    let repository = repository().with_package("services/usp", tools);
    assert_eq!(places(&arrows::check(repository.root()).unwrap()), Vec::<String>::new());
}

#[test]
fn an_arrow_against_the_table_is_found_at_its_line() {
    let repository = repository()
        .with_package("crates/usp-api", "")
        .with_package("crates/usp-model", "[build-dependencies]\nusp-api = { path = \"../usp-api\" }");
    assert_eq!(places(&arrows::check(repository.root()).unwrap()), ["crates/usp-model/Cargo.toml:6 arrows"]);
}

#[test]
fn an_outside_crate_in_the_wrong_place_is_found() {
    let repository = repository().with_package("crates/usp-model", "[dependencies]\nclap_complete = \"4\"");
    assert_eq!(places(&arrows::check(repository.root()).unwrap()), ["crates/usp-model/Cargo.toml:6 arrows"]);
}

#[test]
fn nothing_that_ships_depends_on_a_tool() {
    let repository = repository()
        .with_package("tools/testkit", "")
        .with_package("services/usp", "[dependencies]\ntestkit = { path = \"../../tools/testkit\" }");
    assert_eq!(places(&arrows::check(repository.root()).unwrap()), ["services/usp/Cargo.toml:6 arrows"]);
}

#[test]
fn a_package_without_a_row_is_found() {
    let repository = repository().with_package("crates/usp-extra", "");
    assert_eq!(places(&arrows::check(repository.root()).unwrap()), ["crates/usp-extra/Cargo.toml:2 arrows"]);
}
