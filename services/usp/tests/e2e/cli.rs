//! The command line, as a user types it.

mod files;
mod settings;
mod work;
