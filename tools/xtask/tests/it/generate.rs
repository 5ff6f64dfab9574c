use xtask::generate;

use crate::planted::{Repository, places};

const GEN: &str = "gen/usp-proto/src/gen";
const PROTO: &str = "syntax = \"proto3\";\npackage usp.demo.v1;\n// Says hello.\nmessage Hello {\n  // The words.\n  bytes piece = 1;\n}\n";

fn repository() -> Repository {
    Repository::new().with("proto/usp/demo/v1/demo.proto", PROTO)
}

#[test]
fn what_was_just_written_passes_the_check() {
    let repository = repository();
    generate::write(repository.root()).unwrap();
    assert_eq!(places(&generate::check(repository.root()).unwrap()), Vec::<String>::new());
    let code = String::from_utf8(repository.read(&format!("{GEN}/usp.demo.v1.rs"))).unwrap();
    assert!(code.contains("/// Says hello.") && code.contains("piece: ::prost::bytes::Bytes"), "{code}");
}

#[test]
fn a_changed_a_missing_and_a_left_over_file_are_each_found() {
    let repository = repository();
    generate::write(repository.root()).unwrap();
    let path = format!("{GEN}/usp.demo.v1.rs");
    let changed = String::from_utf8(repository.read(&path)).unwrap().replace("Says hello", "Says nothing");
    let repository = repository.with(&path, &changed).with(&format!("{GEN}/usp.gone.v1.rs"), "");
    std::fs::remove_file(repository.root().join(GEN).join("descriptor.bin")).unwrap();
    let expected = [
        format!("{GEN}/descriptor.bin:1 gen"),
        format!("{path}:2 gen"),
        format!("{GEN}/usp.gone.v1.rs:1 gen"),
    ];
    assert_eq!(places(&generate::check(repository.root()).unwrap()), expected);

    generate::write(repository.root()).unwrap();
    assert!(generate::check(repository.root()).unwrap().is_empty());
}

#[test]
fn a_proto_file_that_does_not_compile_is_an_error() {
    let repository = repository().with("proto/usp/demo/v1/other.proto", "message {");
    assert!(generate::check(repository.root()).is_err());
}

#[test]
fn a_part_without_a_comment_is_found_at_its_line() {
    let code = "syntax = \"proto3\";\npackage usp.demo.v1;\nmessage Hello {\n  map<string, string> a = 1;\n}\n\
                enum State {\n  NONE = 0; // Behind is not before.\n}\nservice Greeter {\n  rpc Call(Hello) returns (Hello);\n}\n";
    let repository = Repository::new().with("proto/usp/demo/v1/demo.proto", code);
    generate::write(repository.root()).unwrap();
    let expected = [3, 4, 6, 7, 9, 10].map(|line| format!("proto/usp/demo/v1/demo.proto:{line} comment"));
    assert_eq!(places(&generate::check(repository.root()).unwrap()), expected);
}
