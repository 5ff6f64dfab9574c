//! Runs an actor under strace.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};

use crate::trace::{CALLS, Places, Trace};

/// The program that plays scenarios, and what is planted in it.
#[derive(Debug, Clone)]
pub struct Program {
    pub path: PathBuf,
    pub bug: Option<String>,
}

/// One process that plays one phase.
#[derive(Debug, Clone)]
pub struct Run<'a> {
    pub program: &'a Program,
    pub scenario: &'a str,
    pub dir: PathBuf,
    pub ledger: PathBuf,
    pub seed: u64,
}

/// What a recorded process did, and how it ended.
#[derive(Debug)]
pub struct Recorded {
    pub trace: Trace,
    pub status: ExitStatus,
    /// Calls that were made to fail: name and what they were about.
    pub injected: Vec<String>,
    /// Every call that was watched, and as which of its kind its thread made it first, from 1: what `when=` counts.
    pub first_made: BTreeMap<String, u64>,
    /// What strace and the process wrote to standard error.
    pub said: String,
}

/// A fault that strace puts in: `fdatasync:error=EIO:when=3`.
#[derive(Debug, Clone, Copy)]
pub struct Fault<'a> {
    pub rule: &'a str,
    /// Go on after operations that failed.
    pub is_lenient: bool,
    /// Only calls about packs fail, and only those are recorded. strace counts calls of a kind by thread, and the
    /// catalogue, whose calls are of the same kind, would fail first and end the process.
    pub of_packs_only: bool,
}

impl<'a> Run<'a> {
    /// Eight clients and collections, until somebody ends it.
    pub fn churn(program: &'a Program, dir: &Path, ledger: &Path, seed: u64) -> Self {
        Self { program, scenario: "churn", dir: dir.to_owned(), ledger: ledger.to_owned(), seed }
    }

    fn arguments(&self, phase: &str) -> Vec<String> {
        let mut words = vec![
            self.scenario.to_owned(),
            phase.to_owned(),
            self.dir.display().to_string(),
            self.ledger.display().to_string(),
            self.seed.to_string(),
        ];
        words.extend(self.program.bug.iter().map(|bug| format!("--bug={bug}")));
        words
    }

    /// Without a recorder, to its end.
    pub fn prepare(&self) -> Result<()> {
        let out = Command::new(&self.program.path).args(self.arguments("prepare")).output()?;
        ensure!(
            out.status.success(),
            "{} cannot be prepared: {}",
            self.scenario,
            String::from_utf8_lossy(&out.stderr)
        );
        Ok(())
    }

    /// Without a recorder, until somebody ends it.
    pub fn spawn(&self) -> Result<std::process::Child> {
        let mut command = Command::new(&self.program.path);
        command.args(self.arguments("recorded")).stdout(Stdio::null()).stderr(Stdio::piped());
        command.spawn().context("start the actor")
    }

    /// Under strace, to its end.
    pub fn record(&self, fault: Option<Fault<'_>>) -> Result<Recorded> {
        let log = self.ledger.with_extension("strace");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-xx", "-s", "67108864", "-e", "abbrev=none", "--seccomp-bpf"]);
        command.arg("-o").arg(&log);
        let mut calls = CALLS.to_owned();
        if let Some(fault) = fault {
            command.args(["-e", &format!("inject={}", fault.rule)]);
            let more = fault.rule.split(':').next().unwrap_or_default();
            calls = format!("{calls},{more}");
            if fault.of_packs_only {
                const PACK_COUNT: u64 = 16;
                for id in 1..=PACK_COUNT {
                    command.arg("-P").arg(self.dir.join(format!("packs/{id:02x}/{id:016x}.pack")));
                }
            }
        }
        command.args(["-e", &format!("trace={calls}")]);
        command.arg(&self.program.path).args(self.arguments("recorded"));
        if fault.is_some_and(|fault| fault.is_lenient) {
            command.arg("lenient");
        }
        let out = command.output().context("run strace: install it, or run tools/setup-test.sh")?;
        let places = Places { volume: self.dir.clone(), ledger: self.ledger.clone() };
        let text = fs::read_to_string(&log)?;
        fs::remove_file(&log)?;
        let trace = Trace::parse(&text, &places)?;
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        let first_made = first_made(&text, &places);
        Ok(Recorded { trace, status: out.status, injected: injected(&text, &places), first_made, said })
    }
}

/// A call during which another thread made one is told in two lines: only the first says what it is about.
fn injected(text: &str, places: &Places) -> Vec<String> {
    let mut begun = BTreeMap::new();
    let mut injected = Vec::new();
    for line in text.lines() {
        let thread = line.split(' ').next().unwrap_or_default();
        if line.ends_with("<unfinished ...>") {
            begun.insert(thread, line);
        } else if line.ends_with("(INJECTED)") {
            let told = if line.contains(" resumed>") { begun.remove(thread) } else { None };
            injected.push(site(told.unwrap_or(line), places));
        }
    }
    injected
}

fn first_made(text: &str, places: &Places) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut first = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        // Not the end of a call that was begun before, nor a signal, nor the end of a thread.
        let Some((name, _)) = call.trim_start().split_once('(').filter(|(name, _)| is_name(name)) else {
            continue;
        };
        let count: &mut u64 = counts.entry((thread, name)).or_default();
        *count += 1;
        let known = first.entry(site(line, places)).or_insert(*count);
        *known = (*known).min(*count);
    }
    first
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `fdatasync pack`: which call, and on what.
fn site(line: &str, places: &Places) -> String {
    let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
    let name = call.split(['(', ' ']).next().unwrap_or_default();
    let volume = hexadecimal(&places.volume.display().to_string());
    // The last path named: the first may be the working directory.
    let what = match line.rsplit_once(&format!("{volume}\\x2f")) {
        None if line.contains(&volume) => "directory of the store",
        None => "elsewhere",
        Some((_, rest)) => {
            let rest = rest.split(['"', '>']).next().unwrap_or_default();
            let is = |text: &str| rest.ends_with(&hexadecimal(text));
            match () {
                () if is(".pack") => "pack",
                () if is("catalog.db") => "catalog.db",
                () if is("-wal") => "catalog.db-wal",
                () if is("-shm") => "catalog.db-shm",
                () if rest.starts_with(&hexadecimal("packs")) => "directory of packs",
                () => "lost+found",
            }
        }
    };
    format!("{name} {what}")
}

/// As strace prints it.
fn hexadecimal(text: &str) -> String {
    text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
}

/// Whether processes can be traced here, and why not.
pub fn can_trace() -> Result<(), String> {
    let tried = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    match tried {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(format!("strace cannot trace here: {}", String::from_utf8_lossy(&out.stderr).trim())),
        Err(error) => Err(format!("strace does not run ({error}); tools/setup-test.sh installs it")),
    }
}

/// A copy of all files and directories.
pub fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
