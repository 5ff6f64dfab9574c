//! `usp put`: files, whole directories, or standard input.
//!
//! 1. The sources are walked while uploads run: a directory may hold more names than memory.
//! 2. Up to `--parallel` uploads are on their way; each result is printed as it comes.
//! 3. With `--wait`, each stored file is followed until nothing more happens to it, beside the uploads.
//!
//! One file that fails does not stop the others, unless the reason will stop them as well (no server, no right, no
//! space). The exit code is that of the first failure; 7 if all were stored and processing failed.

mod follow;
mod progress;
mod sources;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Error, Result};
use clap::Args;
use futures::{Stream, StreamExt};
use serde::Serialize;
use serde_json::json;
use usp_client::types::{File, RunStatus};
use usp_client::{Client, ClientError, PutBody, PutFile};
use usp_model::{ErrorKind, LabelKey, MediaType, RuleName};

use crate::exit::{Ending, Exit, exit_of};
use crate::output::{Output, error_json, shown, went_away_is_fine, write_line};
use crate::place::{Place, SCHEME};
use crate::render::size;
use crate::session::Session;
use follow::Followed;
use progress::Progress;
use sources::{Job, Source, Sources};

/// Files that are followed at the same time.
const FOLLOWED_COUNT_MAX: usize = 64;
/// Uploads at the same time: more would only wait for each other.
const PARALLEL_MAX: u16 = 64;

/// Store files, directories or standard input
#[derive(Debug, Args)]
#[command(after_help = "\
The last argument may be a place. One file goes exactly there, or below it if it ends with '/'; several files and \
directories go below it. A directory keeps its name (DIR/. leaves it out). Without a place: the bucket `default`. \
Symbolic links inside directories are left out.

Example:
  usp put orders.csv usp://default/2026/ --wait
  usp put reports/ photos/ usp://archive --parallel 8
  usp put - usp://default/dump.sql --meta host=db1 --label kind=backup
  usp put <(pg_dump db) usp://default/dump.sql")]
pub(crate) struct PutArgs {
    /// Files, directories or - for standard input; a place usp://BUCKET/PREFIX may come last
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Wait until each file is processed; exit with 7 if one ends badly
    #[arg(long)]
    wait: bool,
    /// Apply this rule, whether or not its condition holds
    #[arg(long, value_name = "NAME")]
    rule: Option<RuleName>,
    /// Metadata of each file; may be repeated
    #[arg(long, value_name = "K=V")]
    meta: Vec<Entry>,
    /// Labels of each file, which rules can ask for; may be repeated
    #[arg(long, value_name = "K=V")]
    label: Vec<Entry>,
    /// The media type of each file, instead of what the server finds out
    #[arg(long = "type", value_name = "TYPE")]
    media_type: Option<MediaType>,
    /// Refuse to replace what stands already
    #[arg(long)]
    only_new: bool,
    /// Uploads at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=i64::from(PARALLEL_MAX)))]
    parallel: u16,
}

/// `k=v`
#[derive(Debug, Clone)]
struct Entry(LabelKey, String);

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
        let key = LabelKey::parse(key).map_err(|error| error.detail())?;
        Ok(Self(key, value.to_owned()))
    }
}

/// What became of one source.
struct Outcome {
    name: String,
    stored: Result<Stored, Error>,
}

struct Stored {
    file: File,
    /// With `--wait`, how it ended.
    followed: Option<Followed>,
}

/// One line of `--json`.
#[derive(Serialize)]
struct StoredJson<'a> {
    #[serde(flatten)]
    file: &'a File,
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<&'a [RunStatus]>,
}

pub(crate) async fn run(args: PutArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    let (paths, place) = split_place(&args.paths)?;
    let sources = Sources::new(paths, place)?;
    let progress = Progress::begin(session.output, &sources).await?;
    let outcomes = outcomes(&args, &client, &sources, &progress);
    let mut tally = Tally::default();
    let mut outcomes = std::pin::pin!(outcomes);
    while let Some(outcome) = outcomes.next().await {
        let told = progress.aside(|| tally.take(outcome, sources.is_single(), session.output));
        if told? == Next::Stop {
            break;
        }
    }
    progress.end();
    tally.ending()
}

/// Stored, and followed if that was asked for, in the order in which they end.
fn outcomes(
    args: &PutArgs,
    client: &Client,
    sources: &Sources,
    progress: &Progress,
) -> impl Stream<Item = Outcome> {
    let uploads = sources.jobs().map(move |job| async move {
        match job {
            Ok(job) => Outcome { name: job.name.clone(), stored: upload(job, args, client, progress).await },
            Err(error) => Outcome { name: String::new(), stored: Err(error) },
        }
    });
    let follow_if_asked = move |mut outcome: Outcome| async move {
        if let (true, Ok(stored)) = (args.wait, &mut outcome.stored) {
            match follow::to_the_end(client, &stored.file, progress).await {
                Ok((file, followed)) => *stored = Stored { file, followed: Some(followed) },
                Err(error) => outcome.stored = Err(error),
            }
        }
        outcome
    };
    uploads
        .buffer_unordered(usize::from(args.parallel))
        .map(follow_if_asked)
        .buffer_unordered(FOLLOWED_COUNT_MAX)
}

async fn upload(job: Job, args: &PutArgs, client: &Client, progress: &Progress) -> Result<Stored> {
    let entries =
        |entries: &[Entry]| entries.iter().map(|Entry(key, value)| (key.clone(), value.clone())).collect();
    let file = PutFile {
        media_type: args.media_type.clone(),
        metadata: entries(&args.meta),
        labels: entries(&args.label),
        rule: args.rule.clone(),
        only_new: args.only_new,
        ..PutFile::at(job.bucket, job.key)
    };
    let body = match job.source {
        Source::File(path) => PutBody::file(path),
        Source::Stream(path) => {
            let opened = tokio::fs::File::open(&path).await;
            PutBody::reader(opened.with_context(|| format!("failed to read {}", path.display()))?, None)
        }
        Source::Stdin => PutBody::reader(tokio::io::stdin(), None),
    };
    let bar = progress.file(&job.name, job.size_bytes);
    let body = match bar.counter() {
        Some(counter) => body.on_progress(counter),
        None => body,
    };
    let (file, _is_new) = client.put(&file, body).await?;
    Ok(Stored { file, followed: None })
}

/// The sources, and where they go.
fn split_place(paths: &[PathBuf]) -> Result<(&[PathBuf], Place)> {
    let place_of = |path: &PathBuf| path.to_str().filter(|text| text.starts_with(SCHEME)).map(str::to_owned);
    let (paths, place) = match paths.split_last() {
        Some((last, rest)) if place_of(last).is_some() => (rest, place_of(last).unwrap_or_default().parse()?),
        _ => (paths, Place::default_bucket()?),
    };
    if paths.is_empty() {
        return Err(Ending::WrongUsage("name at least one file before the place".to_owned()).into());
    }
    if let Some(misplaced) = paths.iter().find_map(place_of) {
        let text = format!("{} can only come last", shown(&misplaced));
        return Err(Ending::WrongUsage(text).into());
    }
    Ok((paths, place))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

/// What happened so far.
#[derive(Debug, Default)]
struct Tally {
    stored_count: usize,
    ended_badly_count: usize,
    failed: Vec<Exit>,
    /// A single content's failure is the command's own.
    only: Option<Error>,
}

impl Tally {
    /// Prints one outcome and says whether the others make sense.
    fn take(&mut self, outcome: Outcome, is_single: bool, output: Output) -> Result<Next> {
        let name = outcome.name;
        let stored = match outcome.stored {
            Ok(stored) => stored,
            Err(error) if is_single => {
                self.only = Some(error);
                return Ok(Next::Stop);
            }
            Err(error) => {
                self.failed.push(exit_of(&error));
                let next = if concerns_all(&error) { Next::Stop } else { Next::GoOn };
                tell(&name, error, output)?;
                return Ok(next);
            }
        };
        self.stored_count += 1;
        let runs = stored.followed.as_ref().map(|followed| followed.status.runs.as_slice());
        output.outcome(&StoredJson { file: &stored.file, runs }, || stored_line(&stored.file))?;
        if let Some(followed) = stored.followed.filter(|followed| !followed.status.is_well()) {
            self.ended_badly_count += 1;
            for complaint in followed.complaints() {
                output.complaint(&format!("{}: {}", shown(&name), shown(&complaint)));
            }
        }
        Ok(Next::GoOn)
    }

    fn ending(self) -> Result<()> {
        if let Some(only) = self.only {
            return Err(only);
        }
        if let Some(exit) = self.failed.first() {
            return Err(Ending::Reported { count: self.failed.len(), exit: *exit }.into());
        }
        if self.ended_badly_count > 0 {
            let text = format!("{} of {} files did not end well", self.ended_badly_count, self.stored_count);
            return Err(Ending::ProcessingFailed(text).into());
        }
        Ok(())
    }
}

fn tell(name: &str, error: Error, output: Output) -> Result<()> {
    if output.json {
        let mut line = error_json(&error);
        if let Some(line) = line.as_object_mut() {
            line.insert("path".to_owned(), json!(name));
        }
        return went_away_is_fine(write_line(&line.to_string()));
    }
    output.error(&if name.is_empty() { error } else { error.context(shown(name)) });
    Ok(())
}

/// Whether the next file would fail for the same reason.
fn concerns_all(error: &Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref()).map(ClientError::kind);
    kind.is_some_and(|kind| {
        matches!(
            kind,
            ErrorKind::Unauthenticated
                | ErrorKind::Unavailable
                | ErrorKind::OutcomeUnknown
                | ErrorKind::RateLimited
                | ErrorKind::StorageFull
                | ErrorKind::Internal
        )
    })
}

fn stored_line(file: &File) -> String {
    format!(
        "{SCHEME}{}/{}  {}  {}  {}",
        file.bucket,
        shown(file.key.as_str()),
        size(file.size),
        file.state,
        file.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<PathBuf> {
        texts.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_place_may_come_last_and_only_there() {
        let given = paths(&["a", "b", "usp://abc/x"]);
        let (sources, place) = split_place(&given).unwrap();
        assert_eq!((sources.len(), place.to_string().as_str()), (2, "usp://abc/x"));
        let given = paths(&["a"]);
        assert_eq!(split_place(&given).unwrap().1.to_string(), "usp://default/");
        for wrong in [&["usp://abc"][..], &["usp://abc", "a"], &["usp://abc", "usp://abc"]] {
            assert!(split_place(&paths(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn entries_are_key_and_value() {
        let Entry(key, value) = "team=a=b".parse().unwrap();
        assert_eq!((key.as_str(), value.as_str()), ("team", "a=b"));
        assert!("team".parse::<Entry>().is_err() && "=x".parse::<Entry>().is_err());
    }
}
