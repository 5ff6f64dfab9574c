//! T35: a store of the first version opens for ever; one of a version to come is refused in a sentence, and left alone.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::{Value, json};
use usp_testkit::generate::sha256_hex;
use usp_testkit::{Http, Installation, file_path};

use super::packs;
use crate::{alone, text};

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/v1")
}

/// Puts the store of the fixture where a stopped installation has its own.
fn put_fixture(usp: &Installation) -> Result<()> {
    let dir = usp.data_dir();
    fs::remove_dir_all(&dir)?;
    copy(&fixture().join("store"), &dir)
}

/// As a checkout may have changed the modes, they are set anew.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir(to)?;
    fs::set_permissions(to, fs::Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
            fs::set_permissions(&target, fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

async fn read_all(http: &Http, expected: &Value) -> Result<()> {
    for file in expected["files"].as_array().context("no files")? {
        let path = format!("/api/v1/files/{}/content?version={}", text(file, "id")?, file["version"]);
        let answer = http.get(&path).await?.must(200)?;
        assert_eq!(answer.body.len() as u64, file["size"].as_u64().context("no size")?, "{file}");
        assert_eq!(sha256_hex(&answer.body), text(file, "sha256")?, "{file}");
    }
    Ok(())
}

#[tokio::test]
async fn the_store_of_version_1_opens_and_reads_byte_for_byte() -> Result<()> {
    let expected: Value = serde_json::from_slice(&fs::read(fixture().join("expected.json"))?)?;
    alone(async |usp| {
        usp.stop().await?;
        put_fixture(usp)?;
        usp.start_again().await?;
        let http = usp.admin().await?;
        read_all(&http, &expected).await?;

        let user = &expected["user"];
        let grant = json!({"grant_type": "password", "username": user["name"], "password": user["password"]});
        usp.anonymous()?.post("/api/v1/auth/token", &grant).await?.must(200)?;

        let listed = http.get("/api/v1/buckets/default/files?label.kind=text").await?.must(200)?.value()?;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");

        // The upload that was open goes on where it stood.
        let upload = &expected["upload"];
        let request = http.request(Method::PATCH, text(upload, "path")?).header("tus-resumable", "1.0.0");
        let request = request.header("content-type", "application/offset+octet-stream");
        let rest = STANDARD.decode(text(upload, "rest_base64")?)?;
        let request = request.header("upload-offset", upload["offset"].to_string()).body(rest);
        http.send(request).await?.must(204)?;
        let whole = http.get(&file_path("default", text(upload, "key")?)).await?.must(200)?;
        assert_eq!(sha256_hex(&whole.body), text(upload, "sha256")?);

        let cli = usp.cli().await?;
        cli.verb(&["admin", "fsck", "--deep"]).await?.must_end_with(0)?;
        cli.verb(&["admin", "gc"]).await?.must_end_with(0)?;
        read_all(&http, &expected).await
    })
    .await
}

#[tokio::test]
async fn formats_of_a_version_to_come_are_refused_in_a_sentence_and_left_alone() -> Result<()> {
    alone(async |usp| {
        usp.stop().await?;
        put_fixture(usp)?;
        let catalog = usp.data_dir().join("catalog.db");
        let conn = Connection::open(&catalog)?;
        let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
        conn.pragma_update(None, "user_version", 99)?;
        let refused = usp.start_refused().await?;
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains("its schema version 99 is newer than"), "{}", refused.stderr);
        let dir = usp.data_dir();
        let dir = dir.to_str().context("a path of text")?;
        let backup = usp.root().join("work");
        let target = backup.to_str().context("a path of text")?;
        for verb in [vec!["fsck"], vec!["rebuild-index"], vec!["backup", target]] {
            let args = [&["admin"], verb.as_slice(), &["--data-dir", dir]].concat();
            let refused = usp.offline(&args).await?;
            assert_ne!(refused.code, 0, "{args:?}");
            assert!(refused.stderr.contains("newer"), "{args:?}: {}", refused.stderr);
        }
        conn.pragma_update(None, "user_version", version)?;

        // A pack that is still open, written by a newer usp: its header says so, and its checksum holds.
        let open: i64 =
            conn.query_row("SELECT max(id) FROM packs WHERE state = 'open'", [], |row| row.get(0))?;
        drop(conn);
        let (pack, _) = packs(&usp.data_dir())?
            .into_iter()
            .find(|(path, _)| super::pack_number(path).is_ok_and(|number| number == open))
            .context("an open pack")?;
        let before = fs::read(&pack)?;
        newer_header(&pack)?;
        let changed = fs::read(&pack)?;
        let refused = usp.start_refused().await?;
        assert_ne!(refused.code, 0);
        assert!(refused.stderr.contains("format version 2"), "{}", refused.stderr);
        assert!(fs::read(&pack)? == changed, "it is left alone");
        fs::write(&pack, before)?;
        usp.start_again().await?;
        Ok(())
    })
    .await
}

/// Makes the header of a pack one of format version 2, with the checksum that belongs to it.
fn newer_header(pack: &Path) -> Result<()> {
    let file = fs::File::options().read(true).write(true).open(pack)?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0)?;
    header[8] = 2;
    let crc = crc32c(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    Ok(file.write_all_at(&header, 0)?)
}

/// CRC-32C bit by bit, as docs/formats/README.md defines it.
fn crc32c(bytes: &[u8]) -> u32 {
    const REFLECTED: u32 = 0x82f6_3b78;
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (REFLECTED & (crc & 1).wrapping_neg()))
    })
}
