//! `usp completions SHELL`

use anyhow::Result;
use clap::Args;
use clap_complete::{Shell, generate};

use crate::output::write_bytes;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  usp completions bash > ~/.local/share/bash-completion/completions/usp")]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, mut command: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut command, "usp", &mut script);
    write_bytes(&script)
}
