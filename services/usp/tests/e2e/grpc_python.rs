//! A client that knows usp only by server reflection, as clients in other languages do.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use usp_testkit::PATIENCE;

use crate::everywhere;

/// The Python of `tools/setup-test.sh`, with grpcio.
fn python() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("USP_TEST_PYTHON") {
        return Ok(path.into());
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let path = target.join("venv/bin/python");
    let is_there = path.is_file();
    ensure!(is_there, "there is no {}: run tools/setup-test.sh once, or set USP_TEST_PYTHON", path.display());
    Ok(path)
}

#[tokio::test]
async fn a_generic_client_probes_lists_uploads_and_reads() -> Result<()> {
    let python = python()?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/generic_client.py");
    everywhere(async |usp| {
        let mut command = tokio::process::Command::new(&python);
        command
            .arg(&script)
            .arg(usp.grpc_address()?.to_string())
            .env("USP_TOKEN", usp.token(&["--role", "admin"]).await?);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.context("the client hangs")??;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}\n{complained}");
        for line in [
            "health: SERVING",
            "reflection: ",
            "upload: ",
            "read: identical",
            "range: identical",
            "refused: UNAUTHENTICATED",
        ] {
            assert!(printed.contains(line), "no '{line}' in:\n{printed}\n{complained}");
        }
        Ok(())
    })
    .await
}
