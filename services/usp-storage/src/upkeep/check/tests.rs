//! A check finds what was planted, each in a sentence, and nothing in a store that is sound.

use std::path::PathBuf;

use rusqlite::Connection;
use usp_api::{CheckReport, StorageCalls};
use usp_model::FindingKind;
use usp_testkit::generate;

use crate::upkeep::scrub::tests::World;
use crate::upkeep::test_store::admin;

async fn filled() -> World {
    let world = World::open().await;
    world.put("a", &generate::bytes(1, 100_000)).await;
    world.put("a", &generate::bytes(2, 60_000)).await;
    world.put("b/c", &generate::bytes(3, 20_000)).await;
    world.put("empty", b"").await;
    world.reopened().await
}

async fn check(world: &World, is_deep: bool) -> CheckReport {
    world.storage.check_store(&admin(), is_deep).await.unwrap()
}

fn alter(world: &World, sql: &str) {
    let conn = Connection::open(world.dir.path().join("catalog.db")).unwrap();
    conn.execute_batch(&format!("PRAGMA foreign_keys = OFF; PRAGMA ignore_check_constraints = ON; {sql}"))
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_store_has_no_findings_open_or_collected() {
    let world = filled().await;
    for is_deep in [false, true] {
        let report = check(&world, is_deep).await;
        assert_eq!(report.findings, [], "{report:?}");
        assert_eq!((report.contents, report.is_grave), (4, false));
        assert!(report.packs >= 3 && report.chunks > 100);
    }
    world.put("later", &generate::bytes(4, 90_000)).await;
    world.storage.collect(&admin(), false).await.unwrap();
    assert_eq!(check(&world, true).await.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_fact_of_the_catalogue_is_told() {
    let table = [
        (
            "UPDATE usage SET logical_bytes = logical_bytes + 1",
            FindingKind::Sum,
            "logical_bytes of bucket default",
        ),
        ("UPDATE meta SET value = value - 1 WHERE name = 'chunk_count'", FindingKind::Sum, "chunk_count"),
        ("UPDATE packs SET live_bytes = live_bytes + 7 WHERE id = 1", FindingKind::Sum, "pack 1 is said"),
        (
            "DELETE FROM manifests WHERE id = (SELECT manifest FROM versions)",
            FindingKind::Content,
            "has no content",
        ),
        (
            "INSERT INTO manifests (size_bytes, chunk_count) VALUES (0, 0)",
            FindingKind::Orphan,
            "belongs to no file",
        ),
        ("UPDATE manifests SET chunk_count = 1 WHERE id = 1", FindingKind::Content, "its row says"),
        ("UPDATE segments SET body = x'00' WHERE manifest = 1", FindingKind::Content, "cannot be read"),
        ("UPDATE segments SET start_offset = 1 WHERE manifest = 1", FindingKind::Content, "hole"),
        ("DELETE FROM chunks WHERE id = 2", FindingKind::Content, "names chunk 2, which has no row"),
        ("UPDATE chunks SET size_bytes = size_bytes + 1 WHERE id = 2", FindingKind::Content, "names chunk 2"),
        ("UPDATE chunks SET offset = offset + 1 WHERE id = 2", FindingKind::Chunk, "chunk 2 is said"),
        ("UPDATE chunks SET digest = zeroblob(32) WHERE id = 2", FindingKind::Chunk, "of another chunk"),
        (
            "UPDATE chunks SET stored_bytes = stored_bytes + 1 WHERE id = 2",
            FindingKind::Chunk,
            "another length",
        ),
        ("UPDATE chunks SET pack = 999 WHERE id = 2", FindingKind::Catalog, "names a row of packs"),
        (
            "UPDATE packs SET committed_bytes = committed_bytes + 1 WHERE id = 1",
            FindingKind::Pack,
            "commits rely on",
        ),
        ("UPDATE files SET manifest = 1", FindingKind::Content, "is said to belong to 1 files"),
        ("UPDATE manifests SET refs = 2 WHERE id = 1", FindingKind::Sum, "is said to belong to 2 files"),
    ];
    for (sql, kind, words) in table {
        let world = filled().await;
        alter(&world, sql);
        let report = check(&world, false).await;
        let found =
            report.findings.iter().any(|finding| finding.kind == kind && finding.text.contains(words));
        assert!(found, "{sql}: {:#?}", report.findings);
        assert_eq!(report.is_grave, report.findings.iter().any(|finding| finding.kind.is_grave()), "{sql}");
        if kind == FindingKind::Sum {
            assert_eq!(world.catalog.mend_sums(world.storage.core.duty("test")).await.unwrap(), 1, "{sql}");
            assert_eq!(check(&world, false).await.findings, [], "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_that_are_gone_cut_or_unknown_and_strays_are_told() {
    let world = filled().await;
    let first = world.chunks().await[0];
    let path = world.path(&first);
    let packs: PathBuf = world.dir.path().join("packs");
    std::fs::copy(&path, packs.join("63/0000000000000063.pack")).unwrap_or_else(|_absent| {
        std::fs::create_dir(packs.join("63")).unwrap();
        std::fs::copy(&path, packs.join("63/0000000000000063.pack")).unwrap()
    });
    std::fs::write(packs.join("63/notes.txt"), "?").unwrap();
    let report = check(&world, false).await;
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Stray, FindingKind::Stray], "{report:?}");
    assert!(!report.is_grave);
    std::fs::remove_file(&path).unwrap();
    let report = check(&world, false).await;
    assert!(report.is_grave && report.findings.iter().any(|finding| finding.text.contains("has no file")));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_deep_check_reads_frames_behind_a_sound_footer() {
    let world = filled().await;
    let hit = world.chunks().await[2];
    world.flip(&hit, 61);
    assert_eq!(check(&world, false).await.findings, []);
    let report = check(&world, true).await;
    assert!(report.is_grave, "{report:?}");
    let kinds: Vec<_> = report.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::Pack, FindingKind::Chunk]);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_a_start_will_write_again_are_not_missed() {
    let world = World::open().await;
    let content = generate::bytes(5, 3_000);
    world.put("short", &content).await;
    let chunks = world.chunks().await;
    let path = world.path(&chunks[0]);
    // A power cut took what was written and not synced; the catalogue has it.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(64).unwrap();
    let kept = world.catalog.redo(chunks[0].place.pack).await.unwrap();
    assert_eq!(kept.len(), chunks.len(), "a short content is committed without a sync");
    assert_eq!(check(&world, true).await.findings, []);
    let world = world.reopened().await;
    assert!(world.read("short").await.unwrap() == content);
    assert_eq!(check(&world, true).await.findings, []);
}
