//! Where it was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn output(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// CPU, memory, kernel, file system, load: what a reader needs to compare.
pub(crate) fn describe(dir: &Path) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let dir = dir.to_string_lossy();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let found = [
        ("CPU", field("/proc/cpuinfo", "model name").map(|model| format!("{cores} × {model}"))),
        ("memory", field("/proc/meminfo", "MemTotal")),
        ("kernel", output("uname", &["-sr"])),
        ("file system", output("stat", &["-f", "-c", "%T", &dir])),
        ("load when it began (1, 5, 15 min)", Some(load.split(' ').take(3).collect::<Vec<_>>().join(" "))),
        ("commit", output("git", &["rev-parse", "--short", "HEAD"])),
        ("taken", output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])),
    ];
    found.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
