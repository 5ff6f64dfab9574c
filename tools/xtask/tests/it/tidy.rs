use xtask::tidy;

use crate::planted::{Repository, places};

#[expect(clippy::unwrap_used, reason = "a check that cannot run proves nothing")]
fn findings(path: &str, content: &str) -> Vec<String> {
    let repository = Repository::new().with(path, content);
    places(&tidy::check(repository.root()).unwrap())
}

#[test]
fn clean_code_has_no_findings() {
    let code = "//! A pack.\n\npub struct Pack;\n\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n";
    assert_eq!(findings("crates/usp-content/src/pack.rs", code), Vec::<String>::new());
}

#[test]
fn a_long_file_is_found_and_tests_and_comments_do_not_count() {
    let lines = |count: usize| "const A: () = ();\n".repeat(count);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", lines(700));
    let comments = "// Why.\n\n".repeat(700);
    assert_eq!(findings("crates/a1/src/long.rs", &lines(601)), ["crates/a1/src/long.rs:1 file-size"]);
    assert_eq!(findings("crates/a1/src/fits.rs", &(lines(600) + &comments + &tests)), Vec::<String>::new());
    assert_eq!(findings("crates/a1/tests/it/cases.rs", &lines(700)), Vec::<String>::new());
    let out_of_line = Repository::new()
        .with("crates/a1/src/pack.rs", "#[cfg(test)]\nmod tests;\n")
        .with("crates/a1/src/pack/tests.rs", &lines(700));
    assert_eq!(places(&tidy::check(out_of_line.root()).unwrap()), Vec::<String>::new());
}

#[test]
fn a_long_function_is_found_at_its_line() {
    let body =
        |count: usize| format!("\nimpl A {{\n    fn long() {{\n{}    }}\n}}\n", "step();\n".repeat(count));
    assert_eq!(findings("crates/a1/src/pack.rs", &body(69)), ["crates/a1/src/pack.rs:3 fn-size"]);
    assert_eq!(findings("crates/a1/src/pack.rs", &body(68)), Vec::<String>::new());
}

#[test]
fn glob_imports_are_found_except_of_the_module_under_test() {
    let code = "use proptest::prelude::*;\nuse std::{fmt, io::*};\n#[cfg(test)]\nmod tests {\n    use super::*;\n    use proptest::prelude::*;\n    use std::fs::*;\n}\n";
    let expected = [1, 2, 7].map(|line| format!("crates/a1/src/pack.rs:{line} glob"));
    assert_eq!(findings("crates/a1/src/pack.rs", code), expected);
}

#[test]
fn only_the_binary_and_tools_read_the_environment_and_exit() {
    let code = "use std::process::{self, exit};\nfn a() {\n    assert!(std::env::var(\"A\").is_ok());\n    process::exit(1);\n}\n";
    let expected = [1, 3, 4].map(|line| format!("crates/a1/src/pack.rs:{line} call"));
    assert_eq!(findings("crates/a1/src/pack.rs", code), expected);
    assert_eq!(findings("services/usp/src/pack.rs", code), Vec::<String>::new());
    assert_eq!(findings("tools/a1/src/pack.rs", code), Vec::<String>::new());
    assert_eq!(findings("services/usp-gateway/src/pack.rs", code).len(), 3);
}

#[test]
fn sleeping_is_found_in_tests_only() {
    let code = "use tokio::time::{Duration, sleep};\nfn poll() {\n    std::thread::sleep(SECOND);\n}\n";
    let expected = [1, 3].map(|line| format!("crates/a1/tests/it/main.rs:{line} sleep"));
    assert_eq!(findings("crates/a1/tests/it/main.rs", code), expected);
    assert_eq!(findings("crates/a1/src/pack.rs", code), Vec::<String>::new());
    let inline = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert_eq!(findings("crates/a1/src/pack.rs", &inline).len(), 2);
    let lone = "#[tokio::test]\nasync fn waits() {\n    tokio::time::sleep(SECOND).await;\n}\n";
    assert_eq!(findings("crates/a1/src/pack.rs", lone), ["crates/a1/src/pack.rs:3 sleep"]);
}

#[test]
fn ignored_tests_are_found_also_inside_macros() {
    let code = "#[test]\n#[ignore]\nfn a() {}\n\nproptest! {\n    #[ignore = \"slow\"]\n    fn b() {}\n}\n";
    let expected = [2, 6].map(|line| format!("services/usp/src/pack.rs:{line} ignore"));
    assert_eq!(findings("services/usp/src/pack.rs", code), expected);
}

#[test]
fn words_that_say_nothing_are_found_in_type_names() {
    let code = "struct PackManager;\nenum FileInfo {}\ntrait Helper {}\ntype RowData = ();\nstruct Database;\nstruct S3Object;\n";
    let expected = [1, 2, 3, 4].map(|line| format!("crates/a1/src/pack.rs:{line} word"));
    assert_eq!(findings("crates/a1/src/pack.rs", code), expected);
}

#[test]
fn file_names_without_a_subject_are_found() {
    for path in ["pack/mod.rs", "utils.rs", "common.rs", "pack_v2.rs", "new_pack.rs", "Pack.rs", "p.rs"] {
        let path = format!("crates/a1/src/{path}");
        assert_eq!(findings(&path, ""), [format!("{path}:1 layout")]);
    }
    assert_eq!(findings("crates/a1/src/s3.rs", ""), Vec::<String>::new());
}

#[test]
fn a_package_is_called_as_its_folder() {
    let repository = Repository::new().with_package("crates/usp-model", "").with(
        "crates/usp-other/Cargo.toml",
        "[package]\nname = \"usp-model2\"\n[lib]\nname = \"usp-other\"\n",
    );
    assert_eq!(places(&tidy::check(repository.root()).unwrap()), ["crates/usp-other/Cargo.toml:1 package"]);
}

#[test]
fn a_file_that_does_not_parse_is_found() {
    assert_eq!(
        findings("crates/a1/src/pack.rs", "fn a() {\n    let = 1;\n}\n"),
        ["crates/a1/src/pack.rs:2 syntax"]
    );
}

#[test]
fn an_exception_silences_its_finding_and_is_found_once_nothing_needs_it() {
    let list = "# Reasons.\ncrates/a1/src/pack.rs word # history\ncrates/a1/src/pack.rs glob\nnonsense\n";
    let repository = Repository::new()
        .with("crates/a1/src/pack.rs", "struct PackManager;\n")
        .with("tools/xtask/tidy-exceptions.txt", list);
    let expected = [3, 4].map(|line| format!("tools/xtask/tidy-exceptions.txt:{line} exceptions"));
    assert_eq!(places(&tidy::check(repository.root()).unwrap()), expected);
}
