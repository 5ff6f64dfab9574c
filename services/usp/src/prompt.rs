//! Questions to the person at the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;

use anyhow::{Context, Result, bail};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// The longest answer: longer than any password that usp takes.
const ANSWER_BYTES_MAX: u64 = 4096;

/// Asks for a password without showing it.
///
/// Errors: no terminal. Cancel: safe, the terminal shows what is typed again.
pub(crate) async fn password(question: &str) -> Result<String> {
    let mut terminal =
        open_terminal().context("there is no terminal to ask for the password; use --password-stdin")?;
    write!(terminal, "{question}: ")?;
    // Held by this future and not by the reading thread, so that an interrupt gives the echo back.
    let _silence = Silence::begin(&terminal)?;
    let answer = read_line(terminal.try_clone()?).await?;
    writeln!(terminal)?;
    Ok(answer)
}

/// Asks for a yes. Without a terminal the answer is no.
pub(crate) async fn is_confirmed(question: &str) -> Result<bool> {
    let Ok(mut terminal) = open_terminal() else { return Ok(false) };
    write!(terminal, "{question} [y/N] ")?;
    let answer = read_line(terminal).await?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// The one line of standard input, for passwords from scripts.
pub(crate) async fn stdin_line() -> Result<String> {
    let line = tokio::task::spawn_blocking(|| first_line(io::stdin().lock())).await??;
    if line.is_empty() {
        bail!("standard input is empty; a password is expected on its first line");
    }
    Ok(line)
}

fn open_terminal() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

async fn read_line(terminal: File) -> Result<String> {
    Ok(tokio::task::spawn_blocking(move || first_line(BufReader::new(terminal))).await??)
}

fn first_line(input: impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(ANSWER_BYTES_MAX).read_line(&mut line)?;
    line.truncate(line.trim_end_matches(['\r', '\n']).len());
    Ok(line)
}

/// While it lives, the terminal does not show what is typed.
struct Silence {
    terminal: File,
    before: Termios,
}

impl Silence {
    fn begin(terminal: &File) -> Result<Self> {
        let terminal = terminal.try_clone()?;
        let before = tcgetattr(terminal.as_fd()).context("failed to read the terminal's settings")?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal.as_fd(), OptionalActions::Flush, &silent)
            .context("failed to silence the terminal")?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that is gone.
        let _gone = tcsetattr(self.terminal.as_fd(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_the_first_line_without_its_end() {
        assert_eq!(first_line(&b"secret word \r\nmore"[..]).unwrap(), "secret word ");
        assert_eq!(first_line(&b"no end"[..]).unwrap(), "no end");
        assert_eq!(first_line(&b""[..]).unwrap(), "");
        let endless = vec![b'a'; 10_000];
        assert_eq!(first_line(endless.as_slice()).unwrap().len(), 4096);
    }
}
