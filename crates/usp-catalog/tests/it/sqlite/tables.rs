//! What stands in tables and is not told by any port.

use usp_model::{BucketPolicy, ErrorKind};

use super::Sqlite;
use crate::contract::world::{act, bucket, kind_of, new_run, tags};

#[tokio::test]
async fn a_manifest_that_cannot_be_read_stops_the_collection() {
    let sqlite = Sqlite::new();
    let world = sqlite.world().await;
    world.put("a", 1).await;
    sqlite.connection().execute("UPDATE segments SET body = x'00'", []).unwrap();
    assert_eq!(kind_of(world.catalog.references(None, 9).await), ErrorKind::Corrupt);
}

#[tokio::test]
async fn rows_that_stand_twice_agree_after_much_use() {
    let sqlite = Sqlite::new();
    let world = sqlite.world().await;
    for number in 0..50 {
        let mut new = world.new_version(&format!("k{}", number % 10), number);
        new.labels = tags(&[("n", &number.to_string())]);
        new.runs = vec![new_run("profile")];
        let file = world.catalog.commit_version(act(0), new).await.unwrap().file;
        if number % 7 == 0 {
            world.catalog.delete_file(act(1), &file.id, None).await.unwrap();
        }
    }
    world.assert_sound().await;
    let conn = sqlite.connection();
    let number = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let tags_agree = "SELECT (SELECT count(*) FROM tags) - (SELECT count(*) FROM files)";
    assert_eq!(number(tags_agree), 0, "one label each");
}

#[tokio::test]
async fn a_refused_bucket_leaves_no_domain_behind() {
    let sqlite = Sqlite::new();
    let world = sqlite.world().await;
    let policy = BucketPolicy { dedup_domain: Some("blue".to_owned()), ..BucketPolicy::default() };
    let taken = world.catalog.create_bucket(act(0), bucket("default"), policy).await;
    assert_eq!(kind_of(taken), ErrorKind::Conflict);
    let domains =
        sqlite.connection().query_row("SELECT count(*) FROM domains", [], |row| row.get::<_, i64>(0));
    assert_eq!(domains.unwrap(), 1, "only that of `default`");
}
