//! Roles that do not fit together are refused at start, with the reason and the mend.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use usp_testkit::generate::bytes;
use usp_testkit::{Installation, NatsServer, PATIENCE, RawConnection, Topology, file_path, until};

use crate::{prove, setup};

/// `usp serve` in an environment where nothing of the machine's own settings counts.
fn serve(dir: &std::path::Path, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usp"));
    command.arg("serve").env_clear().env("HOME", dir).env("USP__DATA_DIR", dir.join("data"));
    command.env("USP__GATEWAY__HTTP", "127.0.0.1:0").env("USP__GATEWAY__GRPC", "127.0.0.1:0");
    command.envs(env.iter().copied()).current_dir(dir).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs it to its end; gives the exit code and what it said.
async fn refusal(env: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let dir = tempfile::tempdir()?;
    let ended = tokio::time::timeout(PATIENCE, serve(dir.path(), env).output()).await;
    let output = ended.context("it was not refused")??;
    Ok((output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

#[tokio::test]
async fn impossible_combinations_are_refused_at_start() -> Result<()> {
    let processor = ("USP__ROLES", "processor");
    let url = ("USP__STORAGE__URL", "http://127.0.0.1:1");
    let nats = ("USP__QUEUE__KIND", "nats");
    let table: [(&[(&str, &str)], &str); 7] = [
        (&[processor], "storage.url: without the storage role, name the storage process to use"),
        (&[processor, url], "storage.node_secret_file: without the storage role, give the secret"),
        (&[("USP__ROLES", "storage")], "storage.node_listen: a storage role alone is of use to nobody"),
        (&[url], "storage.url: this process has the storage role itself"),
        (&[nats], "queue.url: name the broker"),
        (&[("USP__QUEUE__URL", "nats://127.0.0.1:1")], "queue.url: the embedded queue has no broker"),
        (
            &[nats, ("USP__QUEUE__URL", "nats://a:b@127.0.0.1:1")],
            "queue.url: a credential does not belong there",
        ),
    ];
    for (env, told) in table {
        let (code, said) = refusal(env).await?;
        assert_eq!(code, Some(2), "{env:?}: {said}");
        assert!(said.contains(told), "{env:?}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_processor_on_a_broker_beside_a_storage_without_one_ends_and_says_why() -> Result<()> {
    let broker = NatsServer::start().await?;
    prove(setup().topology(Topology::FourProcesses), async |usp| {
        let storage = format!("http://{}", usp.server("storage")?.address("node")?);
        let secret = usp.data_dir().join("keys/node.secret").display().to_string();
        let (code, said) = refusal(&[
            ("USP__ROLES", "processor"),
            ("USP__STORAGE__URL", &storage),
            ("USP__STORAGE__NODE_SECRET_FILE", &secret),
            ("USP__QUEUE__KIND", "nats"),
            ("USP__QUEUE__URL", &broker.url()),
        ])
        .await?;
        assert_ne!(code, Some(0), "{said}");
        assert!(said.contains("the storage role has the embedded queue"), "{said}");
        assert!(said.contains("set queue.kind = \"nats\" and queue.url there too"), "{said}");
        Ok(())
    })
    .await
}

/// Opens downloads of a file of 8 MiB, and takes no more of them than their heads.
async fn stuck_downloads(usp: &Installation, count: usize) -> Result<Vec<RawConnection>> {
    let http = usp.admin().await?;
    http.put("large", "application/octet-stream", bytes(5, 8 << 20)).await?.must(201)?;
    let (path, token) = (file_path("default", "large"), http.token());
    let mut stuck = Vec::new();
    for _ in 0..count {
        let mut connection = RawConnection::open(usp.http_address()?).await?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        connection.write(head.as_bytes()).await?;
        assert!(connection.head().await?.contains("200"));
        stuck.push(connection);
    }
    Ok(stuck)
}

/// A log that cannot be written must not take anything with it.
#[tokio::test]
async fn a_full_standard_error_ends_nothing() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let mut server =
        serve(dir.path(), &[("USP_LOG", "debug")]).stdout(Stdio::piped()).stderr(full).spawn()?;
    let mut lines = BufReader::new(server.stdout.take().context("no output")?).lines();
    let address = loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await??.context("it ended")?;
        if let Some(ready) = line.strip_prefix("ready http=") {
            break ready.split(' ').next().context("no address")?.to_owned();
        }
    };
    for path in ["livez", "readyz", "api/v1/me"] {
        let answer = reqwest::get(format!("http://{address}/{path}")).await?;
        assert_eq!(answer.status().as_u16(), if path == "api/v1/me" { 401 } else { 200 }, "{path}");
    }
    Ok(())
}

#[tokio::test]
async fn downloads_that_nobody_takes_hold_up_nothing_else() -> Result<()> {
    prove(setup().topology(Topology::FourProcesses), async |usp| {
        let _stuck = stuck_downloads(usp, 12).await?;
        let http = usp.admin().await?;
        let content = bytes(6, 3 << 20);
        for number in 0..5 {
            let key = format!("other-{number}");
            http.put(&key, "application/octet-stream", content.clone()).await?.must(201)?;
            assert!(http.get(&file_path("default", &key)).await?.must(200)?.body == content);
        }
        http.get("/api/v1/stats").await?.must(200)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn the_storage_role_stops_although_others_follow_events_and_read() -> Result<()> {
    prove(setup().topology(Topology::FourProcesses), async |usp| {
        let _events = usp.admin().await?.events("/api/v1/events", None).await?;
        let begun = Instant::now();
        usp.restart("storage", true).await?;
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        let _stuck = stuck_downloads(usp, 1).await?;
        usp.restart("storage", true).await?;
        let logs = usp.logs()?;
        assert!(logs.contains("other roles did not end their transfers in time"), "{logs}");
        Ok(())
    })
    .await
}

/// Sent to all of them by someone who wants the rules to be read again; those that have none go on.
#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_signal_ends_no_role() -> Result<()> {
    prove(setup().topology(Topology::FourProcesses), async |usp| {
        for server in usp.servers_mut() {
            let sent = Command::new("kill").args(["-HUP", &server.pid().to_string()]).status().await?;
            assert!(sent.success());
        }
        let http = usp.admin().await?;
        let file = http.put("after.csv", "text/csv", "a,b\n1,2\n").await?.must(201)?.value()?;
        http.wait_ready(file["id"].as_str().context("no id")?).await?;
        for server in usp.servers_mut() {
            assert!(!server.has_ended()?, "{} is gone", server.name());
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_processor_alone_says_on_its_probe_what_it_waits_for() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // A port at which nobody listens once this is dropped.
    let free = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let env = [
        ("USP__ROLES", "processor"),
        ("USP__STORAGE__URL", "http://127.0.0.1:1"),
        ("USP__STORAGE__NODE_SECRET", "uspn_of-an-installation-that-is-away"),
        ("USP__PROBE__LISTEN", free.as_str()),
    ];
    let _server = serve(dir.path(), &env).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let health = async || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_usp"));
        command.arg("health").env_clear().env("HOME", dir.path()).env("USP__PROBE__LISTEN", &free);
        command.current_dir(dir.path()).stdin(Stdio::null()).output().await
    };
    let said = until("the probe to answer", PATIENCE, async || {
        let output = health().await?;
        assert_eq!(output.status.code(), Some(6));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((!said.contains("nobody answers")).then_some(said))
    })
    .await?;
    assert!(said.contains("waits for the storage role at http://127.0.0.1:1"), "{said}");
    Ok(())
}
