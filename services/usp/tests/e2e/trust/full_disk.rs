//! T6: a file system that is really full. Uploads are refused and keep what they have; reading, deleting and collecting work;
//! with space again everything goes on by itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use usp_testkit::generate::{bytes, sha256_hex};
use usp_testkit::{Http, Installation, PATIENCE, file_path, until};

use super::{assert_whole, fill, stats};
use crate::{prove, say, setup};

const SETTINGS: &str = "[storage]\ncollect_grace = \"0s\"\nfree_space_min = \"8MiB\"\nballast_size = \"4MiB\"\n\
     scrub_interval = \"0s\"\n[content]\npack_size_max = \"4MiB\"\n";
const DISK_BYTES: u64 = 96 << 20;

/// An ext4 of its own; unmounted and detached when dropped.
struct Disk {
    mount: PathBuf,
    _image: tempfile::TempDir,
}

impl Disk {
    /// `None`, with the reason printed, where this machine has no loop devices for us.
    fn make() -> Result<Option<Self>> {
        let dir = tempfile::Builder::new().prefix("usp-disk-").tempdir()?;
        let (image, mount) = (dir.path().join("image"), dir.path().join("mount"));
        std::fs::File::create(&image)?.set_len(DISK_BYTES)?;
        std::fs::create_dir(&mount)?;
        for command in [
            Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image),
            Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&mount),
        ] {
            let output = command.output();
            let failed = match &output {
                Ok(output) if output.status.success() => continue,
                Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Err(error) => error.to_string(),
            };
            say(format_args!("the full-disk test is skipped: {command:?} is not possible here: {failed}"));
            return Ok(None);
        }
        Ok(Some(Self { mount, _image: dir }))
    }

    fn free_bytes(&self) -> Result<u64> {
        let output = Command::new("df").args(["-B1", "--output=avail"]).arg(&self.mount).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().nth(1).context("df says nothing")?.trim().parse()?)
    }

    /// Takes every byte that is left, as another program would.
    fn fill_up(&self, name: &str) -> Result<PathBuf> {
        let path = self.mount.join(name);
        let target = format!("of={}", path.display());
        // It ends when nothing is left, which is its failure.
        let _full = Command::new("dd").args(["if=/dev/zero", "bs=64K", &target]).output()?;
        let target = format!("of={}", path.display());
        let _last = Command::new("dd")
            .args(["if=/dev/zero", "bs=1K", "oflag=append", "conv=notrunc", &target])
            .output()?;
        Ok(path)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg("--lazy").arg(&self.mount).output();
    }
}

async fn begin_upload(http: &Http, size: usize) -> Result<String> {
    let request = http.request(Method::POST, "/api/v1/uploads").header("tus-resumable", "1.0.0");
    let request = request.header("upload-length", size).header("upload-metadata", "key dXBsb2FkZWQ=");
    Ok(http.send(request).await?.must(201)?.header("location").to_owned())
}

async fn append(http: &Http, upload: &str, offset: usize, part: &[u8]) -> Result<u16> {
    let request = http.request(Method::PATCH, upload).header("tus-resumable", "1.0.0");
    let request =
        request.header("content-type", "application/offset+octet-stream").header("upload-offset", offset);
    Ok(http.send(request.body(part.to_vec())).await?.status)
}

async fn offset(http: &Http, upload: &str) -> Result<usize> {
    let request = http.request(Method::HEAD, upload).header("tus-resumable", "1.0.0");
    Ok(http.send(request).await?.must(200)?.header("upload-offset").parse()?)
}

/// Compaction would take the last bytes for its copies, and nothing could be deleted any more.
#[tokio::test(flavor = "multi_thread")]
async fn collections_on_a_full_disk_leave_what_deleting_needs() -> Result<()> {
    const FILE_COUNT: usize = 14;
    let Some(disk) = Disk::make()? else { return Ok(()) };
    let data_dir = disk.mount.join("data");
    std::fs::create_dir(&data_dir)?;
    let settings = SETTINGS.replace("pack_size_max = \"4MiB\"", "pack_size_max = \"16MiB\"");
    prove(setup().config(&settings).data_dir(&data_dir), async |usp| {
        let http = usp.admin().await?;
        let collect = async || http.post("/api/v1/store/collect", &serde_json::json!({})).await?.must(200);
        for n in 0..FILE_COUNT {
            http.put(&format!("{n}"), "application/octet-stream", bytes(n as u64, 5_000_000))
                .await?
                .must(201)?;
        }
        disk.fill_up("other")?;
        for n in (0..FILE_COUNT).step_by(2) {
            http.delete(&file_path("default", &format!("{n}"))).await?.must(204)?;
        }
        for _cycle in 0..6 {
            collect().await?;
        }
        http.delete(&file_path("default", "1")).await?.must(204)?;
        say(format_args!("{} KiB are left", disk.free_bytes()? >> 10));
        // All of a pack: it goes without copies, and what it leaves makes room for the copies of others.
        for n in (3..FILE_COUNT).step_by(2).take(3) {
            http.delete(&file_path("default", &format!("{n}"))).await?.must(204)?;
        }
        for _cycle in 0..8 {
            collect().await?;
        }
        assert!(disk.free_bytes()? > 16 << 20, "{} bytes are left", disk.free_bytes()?);
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_one_can_read_delete_and_collect_and_uploads_go_on_when_there_is_space() -> Result<()>
{
    let Some(disk) = Disk::make()? else { return Ok(()) };
    let data_dir = disk.mount.join("data");
    std::fs::create_dir(&data_dir)?;
    prove(setup().config(SETTINGS).data_dir(&data_dir), async |usp| {
        let http = usp.admin().await?;
        let kept = fill(&http, 1, 6, 500_000).await?;
        let upload = begin_upload(&http, 2 << 20).await?;
        let content = bytes(77, 2 << 20);
        ensure!(append(&http, &upload, 0, &content[..1 << 20]).await? == 204, "the first half");

        // 1. Uploads fill the disk until they are refused, long before nothing is left.
        let mut count = 0;
        let refused = loop {
            let answer = http
                .put(&format!("fill/{count}"), "application/octet-stream", bytes(1_000 + count, 1 << 20))
                .await?;
            if answer.status != 201 {
                break answer;
            }
            count += 1;
        };
        refused.problem(507, "storage_full")?;
        say(format_args!("{count} MiB were taken in, {} KiB are left", disk.free_bytes()? >> 10));
        assert!(disk.free_bytes()? > 1 << 20, "they stop before the disk is full");

        // 2. Others take the rest.
        assert!(data_dir.join("ballast").exists(), "some was held back in time");
        let other = disk.fill_up("other")?;
        until("what was held back to be given back", PATIENCE, async || {
            Ok((!data_dir.join("ballast").exists()).then_some(()))
        })
        .await?;
        if disk.free_bytes()? < 2 << 20 {
            // The other program was fast enough to take that, too; nobody can hold back what is not there.
            let file = std::fs::File::options().write(true).open(&other)?;
            file.set_len(file.metadata()?.len().saturating_sub(3 << 20))?;
        }

        // 3. Reading works; an upload is refused and keeps its offset.
        assert_whole(&http, &kept).await?;
        assert_eq!(append(&http, &upload, 1 << 20, &content[1 << 20..]).await?, 507);
        assert_eq!(offset(&http, &upload).await?, 1 << 20, "what was acknowledged stays");

        // 4. Deleting and collecting work, and give the space back.
        for n in 0..count {
            http.delete(&file_path("default", &format!("fill/{n}"))).await?.must(204)?;
        }
        let cli = usp.cli().await?;
        for _cycle in 0..4 {
            cli.verb(&["admin", "gc"]).await?.must_end_with(0)?;
        }
        let free = disk.free_bytes()?;
        say(format_args!("{} MiB are free after the collection", free >> 20));
        assert!(free > 24 << 20, "{free}");

        // 5. It goes on by itself.
        let status = until("uploads to be taken again", PATIENCE, async || {
            let status = append(&http, &upload, 1 << 20, &content[1 << 20..]).await?;
            Ok((status != 507).then_some(status))
        })
        .await?;
        assert_eq!(status, 204);
        let read = http.get(&file_path("default", "uploaded")).await?.must(200)?;
        assert_eq!(sha256_hex(&read.body), sha256_hex(&content));
        assert_whole(&http, &kept).await?;
        assert!(stats(&http).await?["disk_bytes"].as_u64() < Some(DISK_BYTES / 2));

        start_on_a_full_disk(usp, &disk, &kept).await
    })
    .await?;
    assert!(Path::new(&disk.mount).exists());
    Ok(())
}

/// A start on a disk that was filled meanwhile works too, with what was held back.
async fn start_on_a_full_disk(
    usp: &mut Installation,
    disk: &Disk,
    kept: &BTreeMap<String, String>,
) -> Result<()> {
    let ballast = usp.data_dir().join("ballast");
    let most = disk.free_bytes()?.saturating_sub(24 << 20);
    std::fs::write(disk.mount.join("much"), bytes(5, usize::try_from(most)?))?;
    until("some to be held back again", PATIENCE, async || Ok(ballast.exists().then_some(()))).await?;
    usp.stop().await?;
    disk.fill_up("more")?;
    usp.start_again().await?;
    assert!(!ballast.exists());
    let http = usp.admin().await?;
    assert_whole(&http, kept).await?;
    http.delete(&file_path("default", "uploaded")).await?.must(204)?;
    http.put("late", "text/plain", "no").await?.problem(507, "storage_full")?;
    Ok(())
}
