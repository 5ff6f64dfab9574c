//! Thin: reads the command line, prints findings, one per line.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use xtask::{Finding, arrows, deny, generate, repository_root, tidy};

const USAGE: &str = "usage: cargo xtask gen [--check] | tidy | arrows | deny";

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = repository_root();
    let found = match words.as_slice() {
        ["gen"] => {
            writeln!(std::io::stdout(), "{} files written", generate::write(&root)?)?;
            Vec::new()
        }
        ["gen", "--check"] => generate::check(&root)?,
        ["tidy"] => tidy::check(&root)?,
        ["arrows"] => arrows::check(&root)?,
        ["deny"] => deny::check(&root)?,
        _ => {
            writeln!(std::io::stderr(), "{USAGE}")?;
            return Ok(ExitCode::from(2));
        }
    };
    report(&found)
}

fn report(found: &[Finding]) -> Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    for finding in found {
        writeln!(out, "{finding}")?;
    }
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
