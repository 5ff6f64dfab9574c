//! Connections that break, servers that die, requests that meet.

use std::time::Duration;

use anyhow::{Context, Result};
use reqwest::Method;
use usp_testkit::generate::{Numbers, bytes, sha256_hex};
use usp_testkit::{Installation, PATIENCE, RawConnection, until};

use super::{CONTENT, UPLOADS, begin, check_file, go_on, head, number, offset, patch, tus};
use crate::{alone, everywhere};

/// A PATCH of which the server has taken the head and waits for `size` bytes; none while another one is at work.
pub(super) async fn begin_patch(
    usp: &Installation,
    token: &str,
    upload: &str,
    from: usize,
    size: usize,
) -> Result<Option<RawConnection>> {
    let mut connection = RawConnection::open(usp.http_address()?).await?;
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nTus-Resumable: 1.0.0\r\n\
         Content-Type: {CONTENT}\r\nUpload-Offset: {from}\r\nContent-Length: {size}\r\nExpect: 100-continue\r\n\r\n"
    );
    connection.write(head.as_bytes()).await?;
    let begun = connection.head().await?;
    Ok(begun.contains("100 Continue").then_some(connection))
}

#[tokio::test]
async fn an_upload_that_is_cut_twenty_times_becomes_the_file_that_was_sent() -> Result<()> {
    const CUTS: usize = 20;
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let content = bytes(41, 6_000_000);
        let sha256 = sha256_hex(&content);
        let upload = begin(&http, content.len(), &[("key", "cut.bin"), ("sha256", &sha256)]).await?;
        let mut numbers = Numbers::new(42);
        let mut acknowledged = 0;
        let mut cuts = 0;
        while cuts < CUTS {
            let (from, mut connection) = until("the turn to append", PATIENCE, async || {
                let from = offset(&http, &upload).await?;
                let begun = begin_patch(usp, http.token(), &upload, from, content.len() - from).await?;
                Ok(begun.map(|connection| (from, connection)))
            })
            .await?;
            assert!(from >= acknowledged, "cut {cuts}: the offset fell from {acknowledged} to {from}");
            acknowledged = from;
            let end = from + usize::try_from(1 + numbers.below(content.len() as u64 / 25))?;
            connection.write(content.get(from..end).context("no such part")?).await?;
            drop(connection);
            // Every byte that was sent counts, unless another request was still at the end of its turn.
            let stands = until("the bytes to count", Duration::from_secs(3), async || {
                let stands = offset(&http, &upload).await?;
                assert!(stands <= end, "{stands} bytes of the {end} that were sent");
                Ok((stands == end).then_some(()))
            });
            cuts += usize::from(stands.await.is_ok());
        }
        let last = go_on(&http, &upload, &content, content.len()).await?.must(204)?;
        check_file(&http, last.header("usp-file-id"), &content).await
    })
    .await
}

#[tokio::test]
async fn of_two_parts_for_one_place_one_counts_and_they_never_mix() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        for round in 0..10_u64 {
            let contents = [bytes(round * 2, 700_000), bytes(round * 2 + 1, 700_000)];
            let upload = begin(&http, 700_000, &[("key", &format!("{round}.bin"))]).await?;
            let answers =
                futures::future::join_all(contents.iter().map(|part| patch(&http, &upload, 0, part)));
            let answers = answers.await.into_iter().collect::<Result<Vec<_>>>()?;
            let winners: Vec<_> = answers.iter().zip(&contents).filter(|(a, _)| a.status == 204).collect();
            assert_eq!(winners.len(), 1, "{answers:?}");
            assert!(answers.iter().all(|a| [204, 409, 423].contains(&a.status)), "{answers:?}");
            let (answer, content) = winners.first().context("no winner")?;
            check_file(&http, answer.header("usp-file-id"), content).await?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_client_that_goes_away_before_the_last_answer_finds_the_file() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let content = bytes(43, 900_000);
        let upload = begin(&http, content.len(), &[("key", "unheard.bin")]).await?;
        let begun = begin_patch(usp, http.token(), &upload, 0, content.len()).await?;
        let mut connection = begun.context("nobody else writes")?;
        connection.write(&content).await?;
        drop(connection);
        let id = until("HEAD to say that all is there", PATIENCE, async || {
            let answer = head(&http, &upload).await?;
            // Whoever went away may have been cut off before the last byte.
            if answer.status == 423 || number(&answer, "upload-offset")? < content.len() {
                return Ok(None);
            }
            Ok(Some(answer.must(200)?.header("usp-file-id").to_owned()))
        })
        .await?;
        check_file(&http, &id, &content).await
    })
    .await
}

#[tokio::test]
async fn a_first_part_that_breaks_off_leaves_nothing() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let mut connection = RawConnection::open(usp.http_address()?).await?;
        let head = format!(
            "POST {UPLOADS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nTus-Resumable: 1.0.0\r\n\
             Content-Type: {CONTENT}\r\nUpload-Length: 900000\r\nContent-Length: 900000\r\nExpect: 100-continue\r\n\r\n",
            http.token()
        );
        connection.write(head.as_bytes()).await?;
        assert!(connection.head().await?.contains("100 Continue"));
        connection.write(&bytes(45, 400_000)).await?;
        let open_uploads = async || {
            let stats = http.get("/api/v1/stats").await?.must(200)?.value()?;
            stats["totals"]["open_uploads"].as_u64().context("no open uploads")
        };
        assert_eq!(open_uploads().await?, 1);
        drop(connection);
        until("the upload to be dropped", PATIENCE, async || {
            Ok((open_uploads().await? == 0).then_some(()))
        })
        .await
    })
    .await
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let content = bytes(44, 3_000_000);
        let upload = begin(&http, content.len(), &[("key", "killed.bin")]).await?;
        let mut acknowledged = 0;
        for end in [1, 999_999, 1_000_000, 2_345_678] {
            let answer = go_on(&usp.admin().await?, &upload, &content, end).await?.must(204)?;
            assert_eq!(number(&answer, "upload-offset")?, end);
            acknowledged = end;
            // Bytes that nobody acknowledged are under way when the end comes.
            let token = usp.admin().await?.token().to_owned();
            let begun = begin_patch(usp, &token, &upload, end, content.len() - end).await?;
            let mut unheard = begun.context("nobody else writes")?;
            unheard.write(content.get(end..content.len() - 1).context("no such part")?).await?;
            usp.kill()?;
            usp.start_again().await?;
            let stands = offset(&usp.admin().await?, &upload).await?;
            assert!((acknowledged..content.len()).contains(&stands), "{stands} after {acknowledged}");
            if stands > end {
                break;
            }
        }
        let http = usp.admin().await?;
        assert!(offset(&http, &upload).await? >= acknowledged);
        let last = go_on(&http, &upload, &content, content.len()).await?.must(204)?;
        check_file(&http, last.header("usp-file-id"), &content).await?;
        assert_eq!(http.send(tus(&http, Method::HEAD, &upload)).await?.header("upload-offset"), "3000000");
        Ok(())
    })
    .await
}
