//! `usp step-worker`: what a processor starts to run steps in. Not for people: the command line does not list it.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use usp_processor::{ChildLimits, WorkerProgram, serve_steps};

const VERB: &str = "step-worker";
const WRONG_USAGE: u8 = 2;

/// The program that is started: this one, also after another release was put in its place on the disk.
pub(crate) fn program(memory_bytes: u64) -> WorkerProgram {
    WorkerProgram {
        program: PathBuf::from("/proc/self/exe"),
        args: vec![OsString::from(VERB), OsString::from(memory_bytes.to_string())],
        memory_bytes,
    }
}

/// The arguments behind the verb, if it is the one that was called.
pub(crate) fn asked_for(args: impl IntoIterator<Item = OsString>) -> Option<impl Iterator<Item = OsString>> {
    let mut args = args.into_iter().skip(1);
    (args.next()? == VERB).then_some(args)
}

/// Serves until standard input ends.
pub(crate) fn run(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let memory_bytes = args.next().and_then(|text| text.to_str()?.parse().ok());
    let Some(memory_bytes) = memory_bytes else {
        // Nobody reads it but whoever tried this by hand.
        let _unheard = writeln!(io::stderr(), "usp step-worker is started by a processor");
        return ExitCode::from(WRONG_USAGE);
    };
    let served = ChildLimits { memory_bytes }
        .confine()
        .and_then(|()| serve_steps(io::stdin().lock(), io::stdout().lock()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _unheard = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}
