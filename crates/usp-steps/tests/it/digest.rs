use serde_json::json;

use crate::stand::report;

#[test]
fn known_digests_of_abc() {
    let all = json!({"algorithms": ["sha256", "sha512", "blake3", "md5", "crc32c"]});
    let report = report("digest", all, "abc", b"abc");
    assert_eq!(report["sha256"], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(report["md5"], "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(report["crc32c"], "364b3fb7");
    assert_eq!(report["blake3"], "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85");
    assert!(report["sha512"].as_str().unwrap().starts_with("ddaf35a193617abacc417349ae204131"));
}

#[test]
fn sha256_and_blake3_are_the_default() {
    let report = report("digest", json!({}), "empty", b"");
    let names: Vec<&String> = report.as_object().unwrap().keys().collect();
    assert_eq!(names, ["blake3", "sha256"]);
    assert_eq!(report["sha256"], "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}
