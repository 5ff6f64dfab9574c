//! A stop that was asked for breaks nothing.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use usp_testkit::generate::bytes;
use usp_testkit::{PATIENCE, RawConnection, file_path, until};

use crate::{alone, everywhere};

#[tokio::test]
async fn a_running_upload_is_finished_before_the_process_ends_with_success() -> Result<()> {
    alone(async |usp| {
        let token = usp.admin().await?.token().to_owned();
        let address = usp.http_address()?;
        let content = bytes(1, 400_000);
        let (first, second) = content.split_at(200_000);
        let mut connection = RawConnection::open(address).await?;
        let head = format!(
            "PUT {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\
             Expect: 100-continue\r\nConnection: close\r\n\r\n",
            file_path("default", "slow.bin"),
            content.len()
        );
        connection.write(head.as_bytes()).await?;
        // The server says so once the handler asks for the body: from here on the upload runs.
        let begun = connection.head().await?;
        assert!(begun.contains("100"), "{begun}");
        connection.write(first).await?;
        usp.door()?.terminate()?;
        until("the door to close", PATIENCE, async || {
            Ok(TcpStream::connect(address).await.is_err().then_some(()))
        })
        .await?;
        connection.write(second).await?;
        let answer = String::from_utf8_lossy(&connection.rest().await?).into_owned();
        assert!(answer.contains("201 Created"), "{answer}");
        let server = usp.servers_mut().first_mut().context("no server")?;
        assert_eq!(server.ended().await?.code(), Some(0));
        usp.kill()?;
        usp.start_again().await?;
        let read = usp.admin().await?.get(&file_path("default", "slow.bin")).await?.must(200)?;
        assert!(read.body == content);
        Ok(())
    })
    .await
}

/// Far less than the time that a running upload is given.
const STOP_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn every_process_ends_with_success_when_asked_to() -> Result<()> {
    everywhere(async |usp| {
        let http = usp.admin().await?;
        http.put("a.txt", "text/plain", "stays").await?.must(201)?;
        // An open stream of events must not hold the stop up.
        let _events = http.events("/api/v1/events", None).await?;
        for stopped in usp.stop().await? {
            assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
            assert!(stopped.took < STOP_WITHIN, "{stopped:?}");
        }
        usp.start_again().await?;
        let read = usp.admin().await?.get(&file_path("default", "a.txt")).await?.must(200)?;
        assert_eq!(read.text(), "stays");
        Ok(())
    })
    .await
}
