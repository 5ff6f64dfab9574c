//! The steps through their public door, as the processor uses them.

mod digest;
mod hostile;
mod parameters;
mod profile_json;
mod profile_table;
mod sniff;
mod stand;
mod streaming;
mod validate;
