//! The contract of the catalogue's ports, kept by every engine, and what each engine has beside it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "facts and their set-up stand in plain functions; what fails there should stop the test"
)]

#[macro_use]
#[deny(dead_code, reason = "a fact that no list names would never be proved")]
mod contract;
mod sqlite;

mod engines {
    catalog_contract!(sqlite, crate::sqlite::Sqlite::new());
}
