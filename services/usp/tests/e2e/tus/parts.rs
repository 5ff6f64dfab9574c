//! Uploads that say later how long they are, and files that come in parts at the same time.

use anyhow::{Context, Result};
use futures::future::try_join_all;
use reqwest::Method;
use usp_testkit::generate::{bytes, sha256_hex};
use usp_testkit::{Answer, Http, PATIENCE, until};

use super::breaks::begin_patch;
use super::{CONTENT, UPLOADS, check_file, head, metadata, number, patch, tus};
use crate::{alone, everywhere};

async fn begin_part(http: &Http, size: usize) -> Result<String> {
    let request = tus(http, Method::POST, UPLOADS).header("upload-concat", "partial");
    let begun = http.send(request.header("upload-length", size)).await?.must(201)?;
    assert_eq!(begun.header("usp-file-id"), "", "a part becomes no file");
    Ok(begun.header("location").to_owned())
}

async fn join(http: &Http, parts: &[String], pairs: &[(&str, &str)]) -> Result<Answer> {
    let parts = format!("final;{}", parts.join(" "));
    let request = tus(http, Method::POST, UPLOADS).header("upload-concat", parts);
    http.send(request.header("upload-metadata", metadata(pairs))).await
}

#[tokio::test]
async fn a_length_that_comes_with_the_last_bytes_makes_the_file() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let content = bytes(20, 700_000);
        let request = tus(&http, Method::POST, UPLOADS).header("upload-defer-length", "1");
        let request = request.header("upload-metadata", metadata(&[("key", "later.bin")]));
        let begun = http.send(request).await?.must(201)?;
        let upload = begun.header("location");
        patch(&http, upload, 0, &content[..300_000]).await?.must(204)?;
        let seen = head(&http, upload).await?.must(200)?;
        assert_eq!((seen.header("upload-defer-length"), seen.header("upload-length")), ("1", ""));
        let last = async |length: usize| {
            let request = tus(&http, Method::PATCH, upload).header("content-type", CONTENT);
            let request = request.header("upload-offset", 300_000).header("upload-length", length);
            http.send(request.body(content[300_000..].to_vec())).await
        };
        last(content.len() - 1).await?.problem(413, "too_large")?;
        let ended = last(content.len()).await?.must(204)?;
        check_file(&http, ended.header("usp-file-id"), &content).await?;
        assert_eq!(number(&head(&http, upload).await?, "upload-length")?, content.len());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_length_can_come_alone_and_can_be_said_again() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let request = tus(&http, Method::POST, UPLOADS).header("upload-defer-length", "1");
        let request = request.header("content-type", CONTENT).body("hello");
        let upload = http.send(request).await?.must(201)?.header("location").to_owned();
        let say = async |length: usize| {
            let request = tus(&http, Method::PATCH, &upload).header("content-type", CONTENT);
            http.send(request.header("upload-offset", 5).header("upload-length", length)).await
        };
        say(4).await?.problem(400, "invalid_input")?;
        let ended = say(5).await?.must(204)?;
        check_file(&http, ended.header("usp-file-id"), b"hello").await?;
        assert_eq!(say(5).await?.must(204)?.header("usp-file-id"), ended.header("usp-file-id"));
        say(6).await?.problem(409, "conflict")?;
        let both = tus(&http, Method::POST, UPLOADS).header("upload-defer-length", "1");
        http.send(both.header("upload-length", 5)).await?.problem(400, "invalid_input")?;
        http.send(tus(&http, Method::POST, UPLOADS)).await?.problem(400, "invalid_input")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn parts_that_came_at_the_same_time_are_one_file() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let content = bytes(21, 3_000_017);
        let parts = try_join_all(content.chunks(800_000).map(async |piece| {
            let upload = begin_part(&http, piece.len()).await?;
            let (first, rest) = piece.split_at(piece.len() / 3);
            patch(&http, &upload, 0, first).await?.must(204)?;
            let last = patch(&http, &upload, first.len(), rest).await?.must(204)?;
            assert_eq!(last.header("usp-file-id"), "");
            anyhow::Ok(upload)
        }))
        .await?;
        let pairs = [("key", "whole.bin"), ("label.team", "film"), ("sha256", &sha256_hex(&content))];
        let joined = join(&http, &parts, &pairs).await?.must(201)?;
        assert_eq!(number(&joined, "upload-offset")?, content.len());
        let id = joined.header("usp-file-id");
        check_file(&http, id, &content).await?;
        // The answer may have been lost.
        let again = join(&http, &parts, &pairs).await?.must(201)?;
        assert_eq!((again.header("location"), again.header("usp-file-id")), (joined.header("location"), id));
        let seen = head(&http, joined.header("location")).await?.must(200)?;
        assert_eq!(seen.header("upload-concat"), format!("final;{}", parts.join(" ")));
        assert_eq!(seen.header("usp-file-id"), id);
        let part = head(&http, &parts[0]).await?.must(200)?;
        assert_eq!((part.header("upload-concat"), number(&part, "upload-offset")?), ("partial", 800_000));
        let more = patch(&http, joined.header("location"), content.len(), b"more").await?;
        more.problem(403, "denied")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_join_without_a_name_finds_its_file_again_and_a_wrong_one_says_why() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let parts = [begin_part(&http, 3).await?, begin_part(&http, 0).await?];
        join(&http, &parts, &[]).await?.problem(409, "conflict")?;
        patch(&http, &parts[0], 0, b"abc").await?.must(204)?;
        let address = format!("http://{}{}", usp.http_address()?, parts[0]);
        let joined = join(&http, &[address, parts[1].clone()], &[]).await?.must(201)?;
        let again = join(&http, &parts, &[]).await?.must(201)?;
        assert_eq!(joined.header("location"), again.header("location"));
        check_file(&http, joined.header("usp-file-id"), b"abc").await?;
        for wrong in ["final;", "final;nothing", "partly"] {
            let request = tus(&http, Method::POST, UPLOADS).header("upload-concat", wrong);
            http.send(request).await?.problem(400, "invalid_input")?;
        }
        let parts = format!("final;{}", parts[0]);
        let request = tus(&http, Method::POST, UPLOADS).header("upload-concat", parts);
        let request = request.header("content-type", CONTENT).body("abc");
        http.send(request).await?.problem(400, "invalid_input")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_joined_file_survives_the_death_of_the_server_behind_each_step() -> Result<()> {
    alone(async |usp| {
        let content = bytes(22, 2_500_000);
        let (first, second) = content.split_at(1_200_001);
        let http = usp.admin().await?;
        let parts = [begin_part(&http, first.len()).await?, begin_part(&http, second.len()).await?];
        patch(&http, &parts[0], 0, first).await?.must(204)?;
        usp.kill()?;
        usp.start_again().await?;
        let http = usp.admin().await?;
        patch(&http, &parts[1], 0, second).await?.must(204)?;
        usp.kill()?;
        usp.start_again().await?;
        let http = usp.admin().await?;
        let joined = join(&http, &parts, &[("key", "whole.bin")]).await?.must(201)?;
        usp.kill()?;
        usp.start_again().await?;
        let http = usp.admin().await?;
        check_file(&http, joined.header("usp-file-id"), &content).await?;
        let cli = usp.cli().await?;
        cli.verb(&["admin", "fsck", "--deep"]).await?.must_end_with(0)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_part_that_is_still_written_to_or_was_ended_is_not_joined() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let parts = [begin_part(&http, 3).await?, begin_part(&http, 5).await?];
        patch(&http, &parts[0], 0, b"one").await?.must(204)?;
        let mut connection =
            begin_patch(usp, http.token(), &parts[1], 0, 5).await?.context("nobody else writes")?;
        connection.write(b"ab").await?;
        // Until its first bytes have come through to storage it is no more than not complete.
        until("the writer to be at work", PATIENCE, async || {
            let early = join(&http, &parts, &[("key", "early")]).await?;
            assert!([409, 423].contains(&early.status), "{early:?}");
            Ok((early.status == 423).then_some(()))
        })
        .await?;
        connection.write(b"cde").await?;
        assert!(connection.head().await?.contains(" 204 "));
        let all = join(&http, &parts, &[("key", "all")]).await?.must(201)?;
        check_file(&http, all.header("usp-file-id"), b"oneabcde").await?;
        let ended = begin_part(&http, 0).await?;
        http.send(tus(&http, Method::DELETE, &ended)).await?.must(204)?;
        join(&http, &[ended], &[("key", "late")]).await?.problem(410, "gone")?;
        // The parts of a file have no end of their own.
        http.send(tus(&http, Method::DELETE, &parts[0])).await?.problem(409, "conflict")?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn of_two_requests_that_join_at_once_both_get_the_one_file() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        let parts = [begin_part(&http, 4).await?, begin_part(&http, 4).await?];
        for part in &parts {
            patch(&http, part, 0, b"same").await?.must(204)?;
        }
        let ask = async || {
            until("the turn to join", PATIENCE, async || {
                let answer = join(&http, &parts, &[("key", "one")]).await?;
                Ok((answer.status != 423).then_some(answer))
            })
            .await
        };
        let (first, second) = tokio::try_join!(ask(), ask())?;
        let (first, second) = (first.must(201)?, second.must(201)?);
        assert_eq!(first.header("location"), second.header("location"));
        assert_eq!(first.header("usp-file-id"), second.header("usp-file-id"));
        check_file(&http, first.header("usp-file-id"), b"samesame").await
    })
    .await
}
