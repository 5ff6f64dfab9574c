//! rustic: restic's format in Rust.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Keeper, STEP_TIME_MAX, Step, Store};
use crate::contestant::{About, Places, version_line};
use crate::process::run;

#[derive(Debug)]
pub(crate) struct Rustic;

impl Keeper for Rustic {
    fn name(&self) -> &'static str {
        "rustic"
    }

    fn missing(&self, places: &Places) -> Option<String> {
        places.program("rustic").is_none().then(|| "tools/bench-peers.sh rustic".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: places.program("rustic").map_or_else(String::new, |it| version_line(&it, "--version")),
            durability: "each pack file synced",
            settings: "defaults: chunks of 1 MiB on average, zstd, encrypted; no cache, no parent snapshot",
        }
    }

    fn open(&self, places: &Places, dir: &Path) -> Result<Box<dyn Store>> {
        let program = places.program("rustic").context("rustic is not installed")?;
        let store = Repository { program, dir: dir.to_owned(), place: dir.join("store") };
        let mut init = store.command();
        init.arg("init");
        run("rustic", &init, dir, STEP_TIME_MAX)?;
        Ok(Box::new(store))
    }
}

#[derive(Debug)]
struct Repository {
    program: PathBuf,
    dir: PathBuf,
    place: PathBuf,
}

impl Repository {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--repository").arg(&self.place).args([
            "--password",
            "bench",
            "--no-cache",
            "--no-progress",
        ]);
        command.env("HOME", &self.dir).env("XDG_CONFIG_HOME", &self.dir);
        command
    }
}

impl Store for Repository {
    fn ingest(&mut self, source: &Path, name: &str) -> Result<Step> {
        let mut command = self.command();
        command.args(["backup", "--force", "--host", "bench", "--tag", name]).arg(source);
        run("rustic", &command, &self.dir, STEP_TIME_MAX).map(Step::from)
    }

    fn restore(&mut self, name: &str, target: &Path) -> Result<Step> {
        let mut command = self.command();
        command.args(["restore", "--filter-tags", name, "latest"]).arg(target);
        run("rustic", &command, &self.dir, STEP_TIME_MAX).map(Step::from)
    }

    fn place(&self) -> &Path {
        &self.place
    }
}
