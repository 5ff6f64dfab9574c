//! A disk that fails under the catalogue: in a process of its own, in which no file may grow beyond a limit.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use usp_catalog::{Catalog, SqliteCatalog, SqliteConfig};
use usp_model::{BucketName, BucketPolicy, ErrorKind};

use super::Sqlite;
use crate::contract::Engine;
use crate::contract::world::{act, kind_of};

/// Names the file, in the process whose disk fails.
const PATH: &str = "USP_TEST_FAILING_CATALOG";
/// 1 MiB, as a shell counts.
const FILE_BLOCKS_MAX: u32 = 2_048;

fn name(number: u32) -> BucketName {
    BucketName::parse(&format!("bucket-{number}")).unwrap()
}

/// Makes buckets until one cannot be made; what it then hears, and how many were acknowledged.
async fn write_until_it_fails(path: String) -> u32 {
    let faults = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&faults);
    let fault = move |_: &_| {
        counted.fetch_add(1, Ordering::SeqCst);
    };
    let catalog: Arc<dyn Catalog> =
        SqliteCatalog::open(SqliteConfig { fault: Arc::new(fault), ..SqliteConfig::new(path) }).unwrap();
    let make = async |number| catalog.create_bucket(act(0), name(number), BucketPolicy::default()).await;
    let mut number = 0;
    let failed = loop {
        match make(number).await {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(failed.kind(), ErrorKind::OutcomeUnknown, "{}", failed.chain());
    assert_eq!(kind_of(make(number).await), ErrorKind::Unavailable, "nothing is written after a fault");
    assert_eq!(faults.load(Ordering::SeqCst), 1);
    assert_eq!(
        catalog.list_buckets(None).await.unwrap().len(),
        number as usize,
        "what is read is what was told"
    );
    number
}

#[tokio::test]
async fn a_write_that_the_disk_failed_is_open_and_all_before_it_is_kept() {
    const ITSELF: &str = "sqlite::faults::a_write_that_the_disk_failed_is_open_and_all_before_it_is_kept";
    if let Ok(path) = std::env::var(PATH) {
        let acknowledged = write_until_it_fails(path).await;
        println!("acknowledged={acknowledged};");
        return;
    }
    let sqlite = Sqlite::new();
    drop(sqlite.open().await);
    let script =
        format!("trap '' XFSZ && ulimit -f {FILE_BLOCKS_MAX} && exec \"$0\" --exact {ITSELF} --nocapture");
    let output = Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env(PATH, sqlite.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let acknowledged = said.split_once("acknowledged=").and_then(|(_, rest)| rest.split_once(';'));
    let acknowledged: usize = acknowledged.unwrap().0.parse().unwrap();
    assert!(acknowledged > 10, "{acknowledged}");
    let found = sqlite.open().await.list_buckets(None).await.unwrap().len();
    assert!((acknowledged..=acknowledged + 1).contains(&found), "{found} of {acknowledged}");
}
