//! What a process did to one directory, call by call, as strace saw it.
//!
//! A call has two ends. What it writes may be on the disk from its beginning on; what a sync promises holds from its end
//! on, and only for calls that had ended when it began. Lines of several threads are woven; the two halves of a call that
//! another thread interrupted are put together here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// What strace must record for this to be complete.
pub const CALLS: &str = "open,openat,creat,write,writev,pwrite64,pwritev,pwritev2,ftruncate,truncate,fallocate,fsync,\
    fdatasync,syncfs,sync_file_range,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,mkdir,mkdirat,rmdir,\
    copy_file_range,sendfile,splice";

/// One call that changes the directory, or promises something about it. Paths are relative to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Create {
        path: PathBuf,
    },
    Write {
        path: PathBuf,
        offset: u64,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        len: u64,
    },
    /// Makes the file at least this long.
    Extend {
        path: PathBuf,
        len: u64,
    },
    Sync {
        path: PathBuf,
        has_failed: bool,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    Unlink {
        path: PathBuf,
    },
    MakeDir {
        path: PathBuf,
    },
    /// Bytes that were added to the ledger.
    Ledger {
        bytes: Vec<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Began,
    Ended,
}

/// Calls in the order in which they began and ended.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    pub changes: Vec<Change>,
    /// Each names a change. A call that the end of the process interrupted has no end.
    pub events: Vec<(usize, Moment)>,
}

/// Where the recorded process worked.
#[derive(Debug, Clone)]
pub struct Places {
    pub volume: PathBuf,
    pub ledger: PathBuf,
}

struct Half {
    text: String,
    event: usize,
}

impl Trace {
    pub fn parse(text: &str, places: &Places) -> Result<Self> {
        // Which event each call began with; changes are known once its result is.
        let mut halves: HashMap<&str, Half> = HashMap::new();
        let mut moments: Vec<Option<(usize, Moment)>> = Vec::new();
        let mut changes = Vec::new();
        for line in text.lines() {
            let Some((thread, call)) = line.split_once(' ') else { continue };
            let call = call.trim_start();
            if call.starts_with("+++") || call.starts_with("---") {
                continue;
            }
            let event = moments.len();
            moments.push(None);
            let (call, began) = if let Some(first) = call.strip_suffix("<unfinished ...>") {
                halves.insert(thread, Half { text: first.to_owned(), event });
                continue;
            } else if let Some(second) = call.strip_prefix("<... ") {
                let (_, rest) = second.split_once("resumed>").context("a resumed call")?;
                let half = halves.remove(thread).context("the first half of a call")?;
                (half.text + rest, half.event)
            } else {
                moments.push(None);
                (call.to_owned(), event)
            };
            let change = parse_call(&call, places)
                .with_context(|| format!("understand {}", call.chars().take(200).collect::<String>()))?;
            if let Some(change) = change {
                let ended = moments.len() - 1;
                for (at, moment) in [(began, Moment::Began), (ended, Moment::Ended)] {
                    if let Some(place) = moments.get_mut(at) {
                        *place = Some((changes.len(), moment));
                    }
                }
                changes.push(change);
            }
        }
        // What the end of the process interrupted: nobody heard of it, and it may have happened.
        for half in halves.into_values() {
            let whole = half.text.trim_end().trim_end_matches(',').to_owned() + ") = ?";
            if let Ok(Some(change)) = parse_call(&whole, places) {
                if let Some(place) = moments.get_mut(half.event) {
                    *place = Some((changes.len(), Moment::Began));
                }
                changes.push(change);
            }
        }
        Ok(Self { changes, events: moments.into_iter().flatten().collect() })
    }

    /// Syncs of a file that came after one that failed, by the same process: there must be none.
    pub fn syncs_after_a_failure(&self) -> Vec<PathBuf> {
        let mut failed: Vec<&PathBuf> = Vec::new();
        let mut again = Vec::new();
        for (index, moment) in &self.events {
            let (Some(Change::Sync { path, has_failed }), Moment::Ended) = (self.changes.get(*index), moment)
            else {
                continue;
            };
            if failed.contains(&path) {
                again.push(path.clone());
            }
            if *has_failed {
                failed.push(path);
            }
        }
        again
    }
}

/// `None`: it does not concern the directory, or it changed nothing.
fn parse_call(call: &str, places: &Places) -> Result<Option<Change>> {
    let (name, rest) = call.split_once('(').context("a name")?;
    let (arguments, result) = rest.rsplit_once(" = ").context("a result")?;
    let arguments = arguments.trim_end().strip_suffix(')').context("the end of the arguments")?;
    let has_failed = result.starts_with("-1");
    let inside = |path: &Path| path.strip_prefix(&places.volume).ok().map(Path::to_path_buf);
    match name {
        "open" | "openat" | "creat" => {
            let path = strings(arguments)?.into_iter().next().context("a path")?;
            let Some(path) = inside(&as_path(path)) else { return Ok(None) };
            let creates = arguments.contains("O_CREAT") || name == "creat";
            let truncates = arguments.contains("O_TRUNC") || name == "creat";
            Ok(match (has_failed, creates, truncates) {
                (true, ..) | (false, false, false) => None,
                (false, _, true) => bail!("{} was opened to be cut to nothing", path.display()),
                (false, true, false) => Some(Change::Create { path }),
            })
        }
        "rename" | "renameat" | "renameat2" => {
            let mut paths = strings(arguments)?.into_iter().map(as_path);
            let (from, to) = (paths.next().context("a path")?, paths.next().context("a second path")?);
            Ok(match (inside(&from), inside(&to)) {
                (None, None) => None,
                (Some(from), Some(to)) => (!has_failed).then_some(Change::Rename { from, to }),
                _ => bail!("{} was moved in or out", from.display()),
            })
        }
        "unlink" | "unlinkat" | "mkdir" | "mkdirat" | "rmdir" | "link" | "linkat" | "symlink"
        | "symlinkat" | "truncate" => {
            let path = strings(arguments)?.into_iter().next().context("a path")?;
            let Some(path) = inside(&as_path(path)) else { return Ok(None) };
            Ok(match name {
                _ if has_failed => None,
                "unlink" | "unlinkat" if !arguments.contains("AT_REMOVEDIR") => Some(Change::Unlink { path }),
                "mkdir" | "mkdirat" => Some(Change::MakeDir { path }),
                _ => bail!("{name} of {} is not understood", path.display()),
            })
        }
        _ => {
            let Some(path) = descriptor(arguments)? else { return Ok(None) };
            if path == places.ledger {
                let bytes = strings(arguments)?.concat();
                return Ok((!has_failed).then_some(Change::Ledger { bytes }));
            }
            let Some(path) = inside(&path) else { return Ok(None) };
            parse_file_call(name, path, arguments, result)
        }
    }
}

fn parse_file_call(name: &str, path: PathBuf, arguments: &str, result: &str) -> Result<Option<Change>> {
    let has_failed = result.starts_with("-1");
    let number = |from_the_end: usize| -> Result<u64> {
        let field = arguments.rsplit(", ").nth(from_the_end).context("a number")?;
        field.trim().parse().with_context(|| format!("a number, not '{field}'"))
    };
    Ok(match name {
        "fsync" | "fdatasync" => Some(Change::Sync { path, has_failed }),
        _ if has_failed => None,
        "pwrite64" | "pwritev" | "pwritev2" => {
            let mut bytes = strings(arguments)?.concat();
            // A call that did not come to its end may have written all.
            if let Ok(written) = result.trim().parse() {
                bytes.truncate(written);
            }
            Some(Change::Write { path, offset: number(usize::from(name == "pwritev2"))?, bytes })
        }
        "ftruncate" => Some(Change::Truncate { path, len: number(0)? }),
        // With KEEP_SIZE only space is set aside, which nothing can read.
        "fallocate" if arguments.contains("FALLOC_FL_KEEP_SIZE") && !arguments.contains("PUNCH") => None,
        "fallocate" if number(2)? == 0 => Some(Change::Extend { path, len: number(1)? + number(0)? }),
        // Reading changes nothing; these are here only while they are made to fail.
        "sync_file_range" | "pread64" | "preadv" | "preadv2" | "getdents64" | "statx" => None,
        _ => bail!("{name} on {} is not understood by the simulated disk", path.display()),
    })
}

/// The path of the first argument when that is a descriptor; `None` for a socket, a pipe, or a file that has no name any more.
fn descriptor(arguments: &str) -> Result<Option<PathBuf>> {
    let first = arguments.split_once('>').map(|(first, rest)| (first.split_once('<'), rest));
    let Some((Some((_, path)), rest)) = first else { return Ok(None) };
    if rest.starts_with("(deleted)") || !path.starts_with("\\x2f") {
        return Ok(None);
    }
    Ok(Some(as_path(unescape(path)?)))
}

/// Everything between quotes.
fn strings(arguments: &str) -> Result<Vec<Vec<u8>>> {
    arguments.split('"').skip(1).step_by(2).map(unescape).collect()
}

/// `\x2f\x61` as bytes.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let text = text.as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4);
    for escaped in text.chunks(4) {
        match escaped {
            [b'\\', b'x', high, low] => {
                let (high, low) = (digit(*high).context("a digit")?, digit(*low).context("a digit")?);
                bytes.push(high << 4 | low);
            }
            _ => bail!("strace wrote a string that is not all hexadecimal"),
        }
    }
    Ok(bytes)
}

fn as_path(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    #[test]
    fn calls_of_two_threads_are_put_together_and_others_are_left_out() {
        let places = Places { volume: "/v".into(), ledger: "/l".into() };
        let (file, ledger) = (hex("/v/p"), hex("/l"));
        let lines = [
            format!(
                "1 openat(AT_FDCWD<{}>, \"{file}\", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 3<{file}>",
                hex("/")
            ),
            format!(
                "1 pwritev2(3<{file}>, [{{iov_base=\"{}\", iov_len=2}}, {{iov_base=\"{}\", iov_len=1}}], 2, 64, 0) = 3",
                hex("ab"),
                hex("c")
            ),
            format!("1 fdatasync(3<{file}> <unfinished ...>"),
            format!("2 pwrite64(3<{file}>, \"{}\", 3, 7) = 2", hex("xyz")),
            "1 <... fdatasync resumed>)              = 0".to_owned(),
            format!("2 fsync(3<{file}>) = -1 EIO (Input/output error) (INJECTED)"),
            format!("2 write(9<{ledger}>, \"{}\", 1)   = 1", hex("A")),
            format!("2 write(1<{}>, \"{}\", 1) = 1", hex("/dev/null"), hex("A")),
            format!("2 fsync(3<{file}>) = 0"),
            format!("2 fallocate(3<{file}>, 0, 10, 20) = 0"),
            format!("2 pwrite64(3<{file}>(deleted), \"{}\", 1, 7) = 1", hex("x")),
            format!("2 ftruncate(3<{file}>, 5 <unfinished ...>"),
        ];
        let trace = Trace::parse(&lines.join("\n"), &places).unwrap();
        let path = PathBuf::from("p");
        assert_eq!(
            trace.changes,
            [
                Change::Create { path: path.clone() },
                Change::Write { path: path.clone(), offset: 64, bytes: b"abc".to_vec() },
                Change::Write { path: path.clone(), offset: 7, bytes: b"xy".to_vec() },
                Change::Sync { path: path.clone(), has_failed: false },
                Change::Sync { path: path.clone(), has_failed: true },
                Change::Ledger { bytes: b"A".to_vec() },
                Change::Sync { path: path.clone(), has_failed: false },
                Change::Extend { path: path.clone(), len: 30 },
                Change::Truncate { path: path.clone(), len: 5 },
            ]
        );
        use Moment::{Began, Ended};
        assert_eq!(trace.events[4..8], [(3, Began), (2, Began), (2, Ended), (3, Ended)]);
        assert_eq!(trace.events.last(), Some(&(8, Began)));
        assert_eq!(trace.syncs_after_a_failure(), [path]);
    }

    #[test]
    fn a_call_that_the_disk_cannot_play_is_an_error() {
        let places = Places { volume: "/v".into(), ledger: "/l".into() };
        let line = format!("1 write(3<{}>, \"{}\", 1) = 1", hex("/v/p"), hex("x"));
        assert!(Trace::parse(&line, &places).is_err());
    }
}
