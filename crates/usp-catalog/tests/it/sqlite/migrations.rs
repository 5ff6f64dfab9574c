//! Databases of earlier schema versions are brought up to date.

use rusqlite::Connection;
use usp_model::PackState;

use super::Sqlite;
use crate::contract::Engine;
use crate::contract::world::act;

/// Each takes the schema from the version before to its own.
const MIGRATIONS: [&str; 7] = [
    include_str!("../../../src/sqlite/migrations/0001.sql"),
    include_str!("../../../src/sqlite/migrations/0002.sql"),
    include_str!("../../../src/sqlite/migrations/0003.sql"),
    include_str!("../../../src/sqlite/migrations/0004.sql"),
    include_str!("../../../src/sqlite/migrations/0005.sql"),
    include_str!("../../../src/sqlite/migrations/0006.sql"),
    include_str!("../../../src/sqlite/migrations/0007.sql"),
];

impl Sqlite {
    /// A database as a usp of this schema version made it, still empty.
    fn of_version(&self, version: usize) -> Connection {
        let conn = self.connection();
        for migration in &MIGRATIONS[..version] {
            conn.execute_batch(migration).unwrap();
        }
        conn.pragma_update(None, "application_id", 0x7573_7063).unwrap();
        conn.pragma_update(None, "user_version", i64::try_from(version).unwrap()).unwrap();
        conn
    }
}

#[tokio::test]
async fn a_catalogue_of_version_1_is_brought_up_to_date() {
    let sqlite = Sqlite::new();
    let conn = sqlite.of_version(1);
    conn.execute_batch(
        "INSERT INTO packs (state, committed_bytes) VALUES ('sealed', 900), ('set_aside', 0), ('open', 64);
         INSERT INTO chunks (digest, pack, offset, stored_bytes, size_bytes, epoch)
         VALUES (zeroblob(32), 1, 64, 100, 200, 1), (randomblob(32), 1, 164, 50, 60, 1);",
    )
    .unwrap();
    drop(conn);
    let catalog = sqlite.open().await;
    let usage = catalog.pack_usage().await.unwrap();
    assert_eq!((usage[0].live_chunks, usage[0].live_bytes, usage[0].record.committed_bytes), (2, 150, 900));
    assert_eq!(usage[1].record.state, PackState::SetAside);
    assert_eq!(catalog.begin_pack(act(0)).await.unwrap().0, 4);
    let conn = sqlite.connection();
    let broken = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(broken("SELECT count(*) FROM pragma_foreign_key_check"), 0);
    assert_eq!(broken("SELECT count(*) FROM pragma_foreign_key_list('chunks') WHERE \"table\" = 'packs'"), 1);
}
