//! restic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Keeper, STEP_TIME_MAX, Step, Store};
use crate::contestant::{About, Places, version_line};
use crate::process::{Ran, run};

#[derive(Debug)]
pub(crate) struct Restic;

impl Keeper for Restic {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn missing(&self, places: &Places) -> Option<String> {
        places.program("restic").is_none().then(|| "tools/bench-peers.sh restic".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: places.program("restic").map_or_else(String::new, |it| version_line(&it, "version")),
            durability: "each pack file synced",
            settings: "defaults: chunks of 1 MiB on average, zstd, encrypted; no parent snapshot",
        }
    }

    fn open(&self, places: &Places, dir: &Path) -> Result<Box<dyn Store>> {
        let program = places.program("restic").context("restic is not installed")?;
        let store = Repository { program, dir: dir.to_owned(), place: dir.join("store") };
        let mut init = store.command();
        init.args(["init", "--repository-version", "2"]);
        run("restic", &init, dir, STEP_TIME_MAX)?;
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
        command.arg("--repo").arg(&self.place).arg("--cache-dir").arg(self.dir.join("cache")).arg("--quiet");
        command.env("RESTIC_PASSWORD", "bench").env("HOME", &self.dir);
        command
    }
}

impl Store for Repository {
    fn ingest(&mut self, source: &Path, name: &str) -> Result<Step> {
        let mut command = self.command();
        command.args(["backup", "--host", "bench", "--tag", name]).arg(source);
        run("restic", &command, &self.dir, STEP_TIME_MAX).map(Step::from)
    }

    fn restore(&mut self, name: &str, target: &Path) -> Result<Step> {
        fs::create_dir_all(target)?;
        let mut command = self.command();
        command.args(["restore", "latest", "--tag", name, "--target"]).arg(target);
        run("restic", &command, &self.dir, STEP_TIME_MAX).map(Step::from)
    }

    fn place(&self) -> &Path {
        &self.place
    }
}

impl From<Ran> for Step {
    fn from(ran: Ran) -> Self {
        Self { seconds: ran.seconds, cpu_seconds: ran.cpu_seconds, memory_peak_bytes: ran.memory_peak_bytes }
    }
}
