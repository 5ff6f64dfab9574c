//! JSON as a stream: a strict parser that keeps only its nesting, and a profile of what stands where.

mod parser;
mod paths;

pub(crate) use parser::{Fault, Parser, Sink, chars_in};
pub(crate) use paths::{Paths, plain};
