//! Borg.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Keeper, STEP_TIME_MAX, Step, Store};
use crate::contestant::{About, Places, version_line};
use crate::process::run;

#[derive(Debug)]
pub(crate) struct Borg {
    /// Chunks as small as usp's.
    pub(crate) fine: bool,
}

impl Keeper for Borg {
    fn name(&self) -> &'static str {
        if self.fine { "borg-32k" } else { "borg" }
    }

    fn missing(&self, places: &Places) -> Option<String> {
        places.program("borg").is_none().then(|| "tools/bench-peers.sh borg".to_owned())
    }

    fn about(&self, places: &Places) -> About {
        About {
            version: places.program("borg").map_or_else(String::new, |it| version_line(&it, "--version")),
            durability: "each segment synced",
            settings: if self.fine {
                "chunks of 32 KiB on average (8 to 128), zstd 3, not encrypted"
            } else {
                "default chunks of 2 MiB on average, zstd 3, not encrypted"
            },
        }
    }

    fn open(&self, places: &Places, dir: &Path) -> Result<Box<dyn Store>> {
        let program = places.program("borg").context("borg is not installed")?;
        let store = Repository { program, dir: dir.to_owned(), place: dir.join("store"), fine: self.fine };
        let mut init = store.command();
        init.args(["init", "--encryption", "none"]).arg(&store.place);
        run("borg", &init, dir, STEP_TIME_MAX)?;
        Ok(Box::new(store))
    }
}

#[derive(Debug)]
struct Repository {
    program: PathBuf,
    dir: PathBuf,
    place: PathBuf,
    fine: bool,
}

impl Repository {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env("BORG_BASE_DIR", &self.dir).env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command
    }

    fn archive(&self, name: &str) -> String {
        format!("{}::{name}", self.place.display())
    }
}

impl Store for Repository {
    fn ingest(&mut self, source: &Path, name: &str) -> Result<Step> {
        let mut command = self.command();
        command.args(["create", "--compression", "zstd,3"]);
        if self.fine {
            command.args(["--chunker-params", "buzhash,13,17,15,4095"]);
        }
        let parent = source.parent().context("a source has a parent")?;
        command.arg(self.archive(name)).arg(source.file_name().context("a source has a name")?);
        command.current_dir(parent);
        run("borg", &command, &self.dir, STEP_TIME_MAX).map(Step::from)
    }

    fn restore(&mut self, name: &str, target: &Path) -> Result<Step> {
        let mut command = self.command();
        command.arg("extract").arg(self.archive(name)).current_dir(target);
        run("borg", &command, &self.dir, STEP_TIME_MAX).map(Step::from)
    }

    fn place(&self) -> &Path {
        &self.place
    }
}
