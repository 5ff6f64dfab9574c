//! Signing in, configuration, administration, and what every verb has.

use anyhow::{Context, Result};

use crate::{alone, text};

#[tokio::test]
async fn a_login_is_remembered_until_the_environment_says_otherwise() -> Result<()> {
    alone(async |usp| {
        let password = usp.admin_password()?;
        let cli = usp.cli_with(None)?.without_env();
        let url = format!("http://{}", usp.http_address()?);
        let input = format!("{password}\n");
        cli.verb_with_input(&["login", &url, "--user", "admin", "--password-stdin"], input.as_bytes())
            .await?
            .must_end_with(0)?;
        cli.verb_with_input(&["put", "-", "usp://default/a.txt"], b"x").await?.must_end_with(0)?;
        let profile = walkdir::WalkDir::new(usp.root().join("home"));
        for entry in profile.into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_file()) {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(entry.metadata()?.permissions().mode() & 0o077, 0, "{}", entry.path().display());
            let text = std::fs::read_to_string(entry.path())?;
            assert!(!text.contains(&password), "the password is kept in {}", entry.path().display());
        }
        cli.env("USP_TOKEN", "garbage").verb(&["ls"]).await?.must_end_with(4)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn users_keys_and_buckets_are_administered() -> Result<()> {
    alone(async |usp| {
        let cli = usp.cli().await?;
        cli.verb(&["admin", "bucket", "add", "team"]).await?.must_end_with(0)?;
        cli.verb(&["admin", "bucket", "add", "team"]).await?.must_end_with(5)?;
        let user = ["admin", "user", "add", "ada", "--role", "writer", "--bucket", "team", "--json"];
        let user = cli.verb(&user).await?.must_end_with(0)?.json()?.pop().context("nothing printed")?;
        let grant = serde_json::json!({
            "grant_type": "password", "username": "ada", "password": text(&user, "password")?,
        });
        usp.anonymous()?.post("/api/v1/auth/token", &grant).await?.must(200)?;
        let key = ["admin", "key", "add", "import", "--user", "ada", "--json"];
        let key = cli.verb(&key).await?.must_end_with(0)?.json()?.pop().context("nothing printed")?;
        let ada = usp.cli_with(Some(text(&key, "secret")?.to_owned()))?;
        ada.verb_with_input(&["put", "-", "usp://team/a.txt"], b"x").await?.must_end_with(0)?;
        ada.verb_with_input(&["put", "-", "usp://default/a.txt"], b"x").await?.must_end_with(3)?;
        for what in ["user", "key", "bucket"] {
            let listed = cli.verb(&["admin", what, "ls", "--json"]).await?.must_end_with(0)?;
            assert!(!listed.json_items()?.is_empty(), "{}", listed.stdout);
        }
        cli.verb(&["admin", "user", "rm", "ada"]).await?.must_end_with(0)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_wrong_setting_is_named_before_anything_starts() -> Result<()> {
    alone(async |usp| {
        let cli = usp.cli().await?;
        cli.verb(&["config", "check"]).await?.must_end_with(0)?;
        let printed = cli.verb(&["config", "print"]).await?.must_end_with(0)?;
        assert!(printed.stdout.contains("[gateway]"), "{}", printed.stdout);
        let file = usp.root().join("home/wrong.toml");
        std::fs::write(&file, "[gateway]\nhttpp = \"127.0.0.1:1\"\n")?;
        let file = file.to_str().context("no UTF-8")?;
        let wrong = cli.verb(&["config", "check", "--config", file]).await?.must_end_with(2)?;
        assert!(wrong.stderr.contains("httpp"), "{}", wrong.stderr);
        let data_dir = usp.root().join("home/data");
        let data_dir = data_dir.to_str().context("no UTF-8")?;
        cli.verb(&["serve", "--config", file, "--data-dir", data_dir]).await?.must_end_with(2)?;
        assert!(!std::path::Path::new(data_dir).exists(), "something was started");
        let odd = cli.env("USP__GATEWAY__NOTHING", "1").verb(&["config", "check"]).await?.must_end_with(2)?;
        assert!(odd.stderr.to_lowercase().contains("nothing"), "{}", odd.stderr);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn every_verb_explains_itself_with_an_example() -> Result<()> {
    alone(async |usp| {
        let cli = usp.cli_with(None)?;
        for verb in [
            "serve",
            "token",
            "login",
            "put",
            "get",
            "ls",
            "stat",
            "rm",
            "status",
            "watch",
            "runs",
            "retry",
            "cancel",
            "rules",
            "admin",
            "config",
            "completions",
        ] {
            let help = cli.verb(&[verb, "--help"]).await?.must_end_with(0)?;
            assert!(help.stdout.contains(&format!("usp {verb}")), "{}", help.stdout);
            assert!(
                help.stdout.to_lowercase().contains("example"),
                "usp {verb} --help has no example:\n{}",
                help.stdout
            );
        }
        for shell in ["bash", "zsh", "fish"] {
            assert!(cli.verb(&["completions", shell]).await?.must_end_with(0)?.stdout.contains("usp"));
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_second_server_on_the_same_data_is_refused() -> Result<()> {
    alone(async |usp| {
        let data_dir = usp.data_dir();
        let data_dir = data_dir.to_str().context("no UTF-8")?;
        let serve = ["serve", "--data-dir", data_dir, "--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"];
        let second = usp.cli_with(None)?.verb(&serve).await?;
        assert!(
            second.code != 0 && second.stderr.contains("another usp"),
            "{}: {}",
            second.code,
            second.stderr
        );
        usp.anonymous()?.get("/readyz").await?.must(200)?;
        Ok(())
    })
    .await
}
