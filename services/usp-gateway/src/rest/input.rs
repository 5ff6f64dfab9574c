//! What comes in: caller, path, query, JSON, content. Everything is checked and bounded before a handler sees it.

pub(crate) mod caller;
pub(crate) mod content;
pub(crate) mod json;
pub(crate) mod labels;
pub(crate) mod path;
pub(crate) mod query;
