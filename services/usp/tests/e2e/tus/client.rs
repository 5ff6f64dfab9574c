//! The client that most web pages use, unchanged.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use usp_testkit::PATIENCE;

use crate::everywhere;

/// The packages of `tools/setup-test.sh`, with tus-js-client.
fn packages() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("USP_TEST_NODE_PACKAGES") {
        return Ok(path.into());
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let path = target.join("node");
    ensure!(
        path.join("node_modules/tus-js-client").is_dir(),
        "there is no tus-js-client in {}: run tools/setup-test.sh once, or set USP_TEST_NODE_PACKAGES",
        path.display()
    );
    Ok(path.canonicalize()?)
}

#[tokio::test]
async fn tus_js_client_uploads_pauses_resumes_and_ends() -> Result<()> {
    let packages = packages()?;
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/tus_client.mjs");
    everywhere(async |usp| {
        let mut command = tokio::process::Command::new("node");
        command
            .arg(&script)
            .arg(format!("http://{}", usp.http_address()?))
            .arg(&packages)
            .env("USP_TOKEN", usp.token(&["--role", "admin"]).await?);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(PATIENCE, command.output()).await.context("the client hangs")?;
        let output = output.context("there is no node: run tools/setup-test.sh once")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complained = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{printed}\n{complained}");
        for line in [
            "in parts: identical",
            "at once: identical",
            "resumed: identical",
            "parallel: identical",
            "deferred: identical",
            "empty: identical",
            "ended: 410",
        ] {
            assert!(printed.contains(line), "no '{line}' in:\n{printed}\n{complained}");
        }
        Ok(())
    })
    .await
}
