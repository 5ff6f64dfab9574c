//! The command line, as a user types it.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::Installation;
use crate::wait::PATIENCE;

/// Runs verbs against one installation, with the credential in the environment.
#[derive(Debug, Clone)]
pub struct Cli<'a> {
    installation: &'a Installation,
    env: Vec<(String, String)>,
}

/// What a verb printed, and how it ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// -1 when a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    what: String,
}

impl<'a> Cli<'a> {
    pub(crate) fn new(installation: &'a Installation, url: String, token: Option<String>) -> Self {
        let mut env = vec![("USP_URL".to_owned(), url)];
        env.extend(token.map(|token| ("USP_TOKEN".to_owned(), token)));
        Self { installation, env }
    }

    /// Neither `USP_URL` nor `USP_TOKEN`: only a stored profile counts.
    #[must_use]
    pub fn without_env(mut self) -> Self {
        self.env.clear();
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs a verb to its end.
    pub async fn verb(&self, args: &[&str]) -> Result<Outcome> {
        Self::run(self.command(args), b"").await
    }

    /// Runs a verb with something on its standard input.
    pub async fn verb_with_input(&self, args: &[&str], input: &[u8]) -> Result<Outcome> {
        Self::run(self.command(args), input).await
    }

    /// Runs a verb on a terminal (by `script`, which every Debian has); standard output holds all that shows there.
    pub async fn on_terminal(&self, args: &[&str]) -> Result<Outcome> {
        let verb = self.command(args);
        let words = std::iter::once(verb.get_program()).chain(verb.get_args());
        let words: Vec<String> = words.map(|word| quoted(&word.to_string_lossy())).collect();
        let mut command = std::process::Command::new("script");
        command.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
        command.env_clear().env("TERM", "xterm-256color");
        command.envs(verb.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(self.installation.root());
        Self::run(command, b"").await
    }

    /// Starts a verb that goes on, such as `watch`, with its standard output piped. Killed when dropped.
    pub fn start(&self, args: &[&str]) -> Result<Child> {
        let mut command = Command::from(self.command(args));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        command.spawn().with_context(|| format!("start usp {args:?}"))
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.installation.command();
        command.envs(self.env.iter().map(|(name, value)| (name, value))).args(args);
        command
    }

    pub(crate) async fn run(command: std::process::Command, input: &[u8]) -> Result<Outcome> {
        let what = format!("{command:?}");
        let mut command = Command::from(command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {what}"))?;
        let mut stdin = child.stdin.take().context("no standard input")?;
        let (input, ended) = (input.to_vec(), child.wait_with_output());
        // A verb that does not read its input closes it; that is no failure of the test.
        let feed = async move {
            let _ = stdin.write_all(&input).await;
        };
        let both = async { tokio::join!(feed, ended).1 };
        let output =
            tokio::time::timeout(PATIENCE, both).await.with_context(|| format!("{what} hangs"))??;
        Ok(Outcome {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            what,
        })
    }
}

impl Outcome {
    /// Fails with all that the verb printed unless it ended with `code`.
    pub fn must_end_with(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == code,
            "{} ended with {}, not {code}\n--- stdout\n{}\n--- stderr\n{}",
            self.what,
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// The JSON documents on standard output, which holds nothing else.
    pub fn json(&self) -> Result<Vec<Value>> {
        let documents: serde_json::Result<Vec<Value>> =
            serde_json::Deserializer::from_str(&self.stdout).into_iter().collect();
        documents.with_context(|| format!("{} printed what is no JSON: {}", self.what, self.stdout))
    }

    /// The JSON objects that were printed, those of lists (`items`) one by one.
    pub fn json_items(&self) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        for document in self.json()? {
            match (document.get("items").and_then(Value::as_array), document.as_array()) {
                (Some(listed), _) | (None, Some(listed)) => items.extend(listed.iter().cloned()),
                (None, None) => items.push(document),
            }
        }
        Ok(items)
    }
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
