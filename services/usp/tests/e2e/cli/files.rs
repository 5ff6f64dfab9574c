//! Files in and out.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use usp_testkit::generate::{bytes, csv};
use usp_testkit::{Installation, file_path};

use crate::{alone, everywhere, text};

/// Less than a chunk.
const SIZE: usize = 1_500;

/// A directory of 1,000 small files in ten folders.
fn make_tree(usp: &Installation) -> Result<PathBuf> {
    let tree = usp.root().join("work/tree");
    for folder in 0..10 {
        let folder_path = tree.join(format!("f{folder}"));
        fs::create_dir_all(&folder_path)?;
        for file in 0..100 {
            fs::write(folder_path.join(format!("{file}.bin")), bytes(folder * 100 + file, SIZE))?;
        }
    }
    Ok(tree)
}

#[tokio::test]
async fn a_directory_of_a_thousand_files_goes_in_with_one_command() -> Result<()> {
    everywhere(async |usp| {
        let tree = make_tree(usp)?;
        let cli = usp.cli().await?;
        let tree_text = tree.to_str().context("no UTF-8")?;
        let put = cli.verb(&["put", tree_text, "usp://default/in", "--json"]).await?.must_end_with(0)?;
        let files = put.json_items()?;
        assert_eq!(files.len(), 1_000);
        let listed = cli.verb(&["ls", "usp://default/in", "--json"]).await?.must_end_with(0)?;
        let listed = listed.json_items()?;
        assert_eq!(listed.len(), 1_000, "{:?}", listed.first());
        let file =
            listed.iter().find(|file| file["key"].as_str().is_some_and(|key| key.ends_with("f3/42.bin")));
        let key = text(file.context("f3/42.bin is missing")?, "key")?;
        let target = usp.root().join("work/out.bin");
        let target_text = target.to_str().context("no UTF-8")?;
        cli.verb(&["get", &format!("usp://default/{key}"), "-o", target_text]).await?.must_end_with(0)?;
        assert_eq!(fs::read(&target)?, fs::read(tree.join("f3/42.bin"))?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn standard_input_goes_in_and_comes_out_on_standard_output() -> Result<()> {
    everywhere(async |usp| {
        let cli = usp.cli().await?;
        let table = csv(41, 5_000);
        let put = cli
            .verb_with_input(&["put", "-", "usp://default/piped.csv", "--wait", "--json"], table.as_bytes());
        let put = put.await?.must_end_with(0)?;
        let file = put.json_items()?.pop().context("nothing printed")?;
        assert_eq!((&file["key"], &file["state"]), (&"piped.csv".into(), &"ready".into()), "{file}");
        let whole = cli.verb(&["get", "usp://default/piped.csv", "-o", "-"]).await?.must_end_with(0)?;
        assert_eq!(whole.stdout, table);
        let part = cli
            .verb(&["get", text(&file, "id")?, "-o", "-", "--range", "1000-1999"])
            .await?
            .must_end_with(0)?;
        assert_eq!(part.stdout, table[1_000..2_000]);
        Ok(())
    })
    .await
}

/// Neither has a length that could be asked for.
#[tokio::test]
async fn pipes_and_files_of_the_kernel_go_in_whole() -> Result<()> {
    alone(async |usp| {
        let cli = usp.cli().await?;
        let table = csv(42, 3_000);
        let put = cli.verb_with_input(&["put", "/dev/stdin", "usp://default/piped.csv"], table.as_bytes());
        put.await?.must_end_with(0)?;
        let read = cli.verb(&["get", "usp://default/piped.csv", "-o", "-"]).await?.must_end_with(0)?;
        assert!(read.stdout == table);
        cli.verb(&["put", "/proc/version", "usp://default/version"]).await?.must_end_with(0)?;
        let read = cli.verb(&["get", "usp://default/version", "-o", "-"]).await?.must_end_with(0)?;
        assert_eq!(read.stdout, fs::read_to_string("/proc/version")?);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_changes_something_goes_on_when_its_reader_went_away() -> Result<()> {
    alone(async |usp| {
        let http = usp.admin().await?;
        let cli = usp.cli().await?;
        let keys: Vec<String> = (0..5).map(|number| format!("{number}.bin")).collect();
        for key in &keys {
            http.put(key, "application/octet-stream", bytes(1, SIZE)).await?.must(201)?;
        }
        let places: Vec<String> = keys.iter().map(|key| format!("usp://default/{key}")).collect();
        let args: Vec<&str> = std::iter::once("rm").chain(places.iter().map(String::as_str)).collect();
        let mut removing = cli.start(&args)?;
        drop(removing.stdout.take());
        assert_eq!(removing.wait().await?.code(), Some(0));
        for key in &keys {
            http.get(&file_path("default", key)).await?.must(404)?;
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_file_is_described_listed_and_removed() -> Result<()> {
    everywhere(async |usp| {
        fs::create_dir_all(usp.root().join("work"))?;
        let source = usp.root().join("work/orders.csv");
        fs::write(&source, csv(42, 100))?;
        let cli = usp.cli().await?;
        let source = source.to_str().context("no UTF-8")?;
        let put = [
            "put",
            source,
            "usp://default/in/",
            "--meta",
            "from=desk",
            "--label",
            "team=sales",
            "--wait",
            "--json",
        ];
        let put = cli.verb(&put).await?.must_end_with(0)?.json_items()?;
        let file = put.first().context("nothing printed")?;
        assert_eq!(file["key"], "in/orders.csv", "{file}");
        let stat = cli.verb(&["stat", "usp://default/in/orders.csv", "--json"]).await?.must_end_with(0)?;
        let stat = stat.json()?.pop().context("nothing printed")?;
        assert_eq!(stat["metadata"]["from"], "desk");
        assert_eq!(stat["labels"]["team"], "sales");
        assert_eq!(stat["reports"]["profile"]["rows"], 100);
        let plain = cli.verb(&["stat", "usp://default/in/orders.csv"]).await?.must_end_with(0)?;
        assert!(
            plain.stdout.contains("in/orders.csv") && plain.stdout.contains("text/csv"),
            "{}",
            plain.stdout
        );
        let folders = cli.verb(&["ls", "usp://default"]).await?.must_end_with(0)?;
        assert!(folders.stdout.contains("in/"), "{}", folders.stdout);
        cli.verb(&["rm", "usp://default/in/orders.csv"]).await?.must_end_with(0)?;
        cli.verb(&["stat", "usp://default/in/orders.csv"]).await?.must_end_with(3)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn exit_codes_tell_what_happened() -> Result<()> {
    alone(async |usp| {
        let admin = usp.cli().await?;
        admin.verb_with_input(&["put", "-", "usp://default/a.txt"], b"x").await?.must_end_with(0)?;
        for (args, code) in [
            (vec!["get", "usp://default/absent.txt", "-o", "-"], 3),
            (vec!["stat", "usp://absent/a.txt"], 3),
            (vec!["status", &"A".repeat(43)], 3),
            (vec!["put"], 2),
            (vec!["get", "usp://", "-o", "-"], 2),
            (vec!["frobnicate"], 2),
            (vec!["put", "/nowhere/at/all", "usp://default/x"], 3),
            (vec!["retry", &"A".repeat(43)], 3),
        ] {
            let outcome = admin.verb(&args).await?;
            // A local file that is absent is a failure (1) or not found (3).
            let is_local = args.contains(&"/nowhere/at/all");
            let ended = outcome.code == code || is_local && [1, 2].contains(&outcome.code);
            assert!(ended, "{args:?} ended with {}\n{}{}", outcome.code, outcome.stdout, outcome.stderr);
            assert!(!outcome.stderr.is_empty(), "{args:?} does not say why");
            assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
        }
        let reader = usp.cli_with(Some(usp.token(&["--role", "reader"]).await?))?;
        reader.verb_with_input(&["put", "-", "usp://default/b.txt"], b"x").await?.must_end_with(4)?;
        reader.verb(&["rm", "usp://default/a.txt"]).await?.must_end_with(4)?;
        usp.cli_with(Some("garbage".to_owned()))?.verb(&["ls"]).await?.must_end_with(4)?;
        usp.cli_with(None)?.verb(&["ls"]).await?.must_end_with(4)?;
        let nobody = admin.clone().env("USP_URL", "http://127.0.0.1:1");
        nobody.verb(&["ls"]).await?.must_end_with(6)?;
        Ok(())
    })
    .await
}

#[tokio::test]
async fn plain_output_has_no_colour_or_bar_when_nobody_looks() -> Result<()> {
    alone(async |usp| {
        let cli = usp.cli().await?;
        let outcome =
            cli.verb_with_input(&["put", "-", "usp://default/a.txt"], b"x").await?.must_end_with(0)?;
        let printed = format!("{}{}", outcome.stdout, outcome.stderr);
        assert!(!printed.contains('\u{1b}') && !printed.contains('\r'), "{printed:?}");
        assert!(outcome.stdout.contains("a.txt"), "{}", outcome.stdout);
        let quiet = cli
            .verb_with_input(&["put", "-", "usp://default/b.txt", "--quiet"], b"x")
            .await?
            .must_end_with(0)?;
        assert_eq!(quiet.stderr, "");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn on_a_terminal_a_bar_moves_while_files_go_in() -> Result<()> {
    alone(async |usp| {
        fs::create_dir_all(usp.root().join("work"))?;
        let source = usp.root().join("work/noise.bin");
        fs::write(&source, bytes(44, 8_000_000))?;
        let source = source.to_str().context("no UTF-8")?;
        let seen = usp
            .cli()
            .await?
            .on_terminal(&["put", source, "usp://default/noise.bin"])
            .await?
            .must_end_with(0)?;
        let redrawn = seen.stdout.matches('\r').count();
        assert!(seen.stdout.contains('\u{1b}') && redrawn > 1, "{:?}", seen.stdout);
        assert!(seen.stdout.contains("noise.bin"), "{:?}", seen.stdout);
        let plain = usp.cli().await?.env("NO_COLOR", "1");
        let plain = plain.on_terminal(&["ls", "usp://default"]).await?.must_end_with(0)?;
        assert!(
            !plain.stdout.contains("\u{1b}[3") && plain.stdout.contains("noise.bin"),
            "{:?}",
            plain.stdout
        );
        Ok(())
    })
    .await
}
