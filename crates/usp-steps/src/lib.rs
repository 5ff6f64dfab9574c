//! Processing steps: what usp can say about the bytes of a file, or demand of them.
//!
//! A step is a pure, synchronous function over a blocking `Read`. It touches no disk, network, clock or
//! database, so the same bytes always make the same report, and a step that ran twice shows once.
//! Memory does not depend on the size of the content: every structure has a bound in `bounds.rs`, and a report
//! says so whenever a bound was met.
//!
//! | step | says |
//! |---|---|
//! | `sniff` | media type, charset and language, decided from the first 256 KiB |
//! | `digest` | SHA-256, SHA-512, BLAKE3, MD5, CRC32C of the whole content |
//! | `profile` | what a table, a JSON document, JSON lines or a text contains |
//! | `validate` | which rows or values break declared columns, a JSON Schema or an encoding |

mod bounds;
mod digest;
mod hash;
mod json;
mod parameters;
#[cfg(feature = "poison")]
mod poison;
mod profile;
mod report;
mod scalar;
mod sketch;
mod sniff;
mod source;
mod step;
mod table;
mod text;
mod validate;

pub use step::{FileFacts, Place, Progress, Step, StepError, StepOutput, build, names, place};
