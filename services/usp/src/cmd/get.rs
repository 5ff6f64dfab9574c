//! `usp get`

mod target;

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use serde_json::json;
use sha2::{Digest, Sha256};
use usp_client::{Client, Content};
use usp_model::{Error, ErrorKind, FileRef};

use crate::output::Output;
use crate::place::FileArg;
use crate::render::size;
use crate::session::Session;
use target::Target;

/// Fetch a file, or a part of one
#[derive(Debug, Args)]
#[command(after_help = "\
A whole file is checked against the digest that the server announces, and appears under its name only if it holds.

Example:
  usp get usp://default/2026/orders.csv
  usp get usp://default/2026/orders.csv -o - --range 0-99")]
pub(crate) struct GetArgs {
    /// usp://BUCKET/KEY or a file id
    file: FileArg,
    /// Where to write: a file, a directory, or - for standard output; the last part of the key without it
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Only these bytes: A-B (both included), A- or -LAST
    #[arg(long, value_name = "A-B", allow_hyphen_values = true)]
    range: Option<Range>,
}

/// A byte range as HTTP has it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range(String);

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("'{text}' is not a range such as 0-99, 100- or -50");
        let (first, last) = text.split_once('-').ok_or_else(refused)?;
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
        let is_range = match (first, last) {
            ("", "") => false,
            ("", last) => number(last).is_some(),
            (first, "") => number(first).is_some(),
            (first, last) => number(first).zip(number(last)).is_some_and(|(first, last)| first <= last),
        };
        if is_range { Ok(Self(format!("bytes={text}"))) } else { Err(refused()) }
    }
}

pub(crate) async fn run(args: GetArgs, session: &Session) -> Result<()> {
    let client = session.client()?;
    let name = match &args.file.0 {
        FileRef::Key(_, key) => key.file_name().to_owned(),
        FileRef::Id(id) if target::needs_name(args.output.as_deref()) => {
            client.file(id).await?.key.file_name().to_owned()
        }
        FileRef::Id(id) => id.to_string(),
    };
    let range = args.range.as_ref().map(|range| range.0.as_str());
    let content = open(&client, &args.file.0, range).await?;
    let mut target = Target::open(args.output.as_deref(), &name).await?;
    let expected = content.sha256.clone().filter(|_| !content.is_part);
    let (written_bytes, digest) = copy(content, &mut target, session.output).await?;
    if let Some(expected) = &expected
        && expected.as_bytes() != digest.as_slice()
    {
        return Err(Error::new(ErrorKind::DigestMismatch, "fetch file")
            .because(format!("what arrived of {} is not what the server has; try again", args.file.0))
            .into());
    }
    let Some(path) = target.finish().await? else { return Ok(()) };
    let told = json!({
        "path": path, "size": written_bytes, "sha256": hex::encode(digest), "verified": expected.is_some(),
    });
    session.output.outcome(&told, || format!("{}  {}", path.display(), size(written_bytes)))
}

async fn open(client: &Client, file: &FileRef, range: Option<&str>) -> Result<Content> {
    let content = client.read(file, range).await?;
    if range.is_some() && !content.is_part {
        return Err(Error::new(ErrorKind::Internal, "fetch file")
            .because("the server sent all of it instead of the range; a proxy in between may not know ranges")
            .into());
    }
    Ok(content)
}

/// Writes all pieces and answers how many bytes they had and their SHA-256.
async fn copy(content: Content, target: &mut Target, output: Output) -> Result<(u64, Vec<u8>)> {
    let bar = bar(content.size_bytes, output, target.is_stdout());
    let mut hash = Sha256::new();
    let mut written_bytes = 0_u64;
    let announced = content.size_bytes;
    let mut pieces = content.pieces;
    while let Some(piece) = pieces.try_next().await? {
        hash.update(&piece);
        written_bytes += piece.len() as u64;
        target.write(piece).await?;
        bar.set_position(written_bytes);
    }
    bar.finish_and_clear();
    if announced.is_some_and(|announced| announced != written_bytes) {
        return Err(Error::new(ErrorKind::Unavailable, "fetch file")
            .because("the content ended before all of it arrived")
            .into());
    }
    Ok((written_bytes, hash.finalize().to_vec()))
}

fn bar(size_bytes: Option<u64>, output: Output, to_stdout: bool) -> ProgressBar {
    let shared_terminal = to_stdout && std::io::IsTerminal::is_terminal(&std::io::stdout());
    if !output.draws() || shared_terminal {
        return ProgressBar::hidden();
    }
    let template = "{wide_bar} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta}";
    let bar = size_bytes.map_or_else(ProgressBar::no_length, ProgressBar::new);
    bar.with_finish(ProgressFinish::AndClear)
        .with_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_the_help_says() {
        for (text, header) in
            [("0-99", "bytes=0-99"), ("100-", "bytes=100-"), ("-50", "bytes=-50"), ("7-7", "bytes=7-7")]
        {
            assert_eq!(text.parse::<Range>().unwrap().0, header);
        }
        for text in ["", "-", "5", "9-3", "a-b", "0-9,20-29", "+1-2", "0-99999999999999999999", "--5"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
    }
}
