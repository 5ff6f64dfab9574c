//! What processes cost: CPU seconds and memory, read from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

/// Ticks per second of the times in `/proc`, as `getconf CLK_TCK` says.
pub(crate) fn ticks_per_second() -> Result<f64> {
    let output = Command::new("getconf").arg("CLK_TCK").output().context("start getconf")?;
    String::from_utf8_lossy(&output.stdout).trim().parse().context("read CLK_TCK")
}

/// One process as `/proc/PID/stat` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    parent: u32,
    /// User and system time of all its threads, and of children that it has waited for.
    ticks: u64,
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The name stands in parentheses and may hold anything; what counts comes after the last one.
    let words: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |index: usize| words.get(index)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ticks: number(11)? + number(12)? + number(13)? + number(14)?,
    })
}

/// Everything that runs, by process id.
fn all() -> BTreeMap<u32, Stat> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(text) = fs::read_to_string(entry.path().join("stat")) else { continue };
        if let Some(stat) = parse_stat(&text) {
            found.insert(pid, stat);
        }
    }
    found
}

/// `root` and all that descends from it and still runs.
pub(crate) fn tree(root: u32) -> Vec<u32> {
    let all = all();
    let mut tree = vec![root];
    let mut index = 0;
    while let Some(&parent) = tree.get(index) {
        tree.extend(all.iter().filter(|(_, stat)| stat.parent == parent).map(|(pid, _)| *pid));
        index += 1;
    }
    tree
}

/// CPU ticks that a process, its threads and its descendants have used.
pub(crate) fn tree_ticks(root: u32) -> u64 {
    let all = all();
    tree(root).iter().filter_map(|pid| all.get(pid)).map(|stat| stat.ticks).sum()
}

/// CPU ticks of this program: itself, and the programs that it ran and waited for.
pub(crate) fn own_ticks() -> Result<u64> {
    Ok(parse_stat(&fs::read_to_string("/proc/self/stat")?).context("read /proc/self/stat")?.ticks)
}

/// The most memory that a process tree held: the sum of `VmHWM` over those that still run.
pub(crate) fn tree_memory_peak_bytes(root: u32) -> u64 {
    tree_memory(root, "VmHWM:")
}

/// The memory that a process tree holds now.
pub(crate) fn tree_memory_bytes(root: u32) -> u64 {
    tree_memory(root, "VmRSS:")
}

fn tree_memory(root: u32, field: &str) -> u64 {
    let of = |pid: &u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
    };
    tree(root).iter().filter_map(of).sum()
}

/// CPU ticks that the whole machine was busy.
pub(crate) fn machine_ticks() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().context("read /proc/stat")?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guest times are in the first two already.
    Ok(ticks.iter().take(8).enumerate().filter(|(index, _)| !matches!(index, 3 | 4)).map(|(_, t)| t).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_confuse() {
        let line = "42 (a) b (c)) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 3 4 20 0 5 0 99 0 0";
        assert_eq!(parse_stat(line), Some(Stat { parent: 7, ticks: 127 }));
        assert_eq!(parse_stat("nothing"), None);
    }

    #[test]
    fn this_process_is_its_own_tree() {
        let own = std::process::id();
        assert_eq!(tree(own).first(), Some(&own));
        assert!(tree_memory_peak_bytes(own) > 0);
        assert!(machine_ticks().unwrap() > 0);
    }
}
