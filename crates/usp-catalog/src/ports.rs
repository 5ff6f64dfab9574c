//! The seam: every fact that usp keeps, as domain transactions, in one port for each consumer.
//!
//! A method that changes something takes an [`Act`](usp_model::Act), is one transaction, durable before it returns, and
//! writes the events it causes in that same transaction. Methods that only read see committed facts.
//!
//! Errors beyond those named at a method: `Unavailable` (nothing was written; worth a retry), `StorageFull` (no space;
//! nothing was written), `OutcomeUnknown` (of a write: it may be there, or come to be there; look before it is sent
//! again), `Internal`. Cancel: a read may be dropped anywhere; a write that was begun runs to its end, unheard.

mod accounts;
mod buckets;
mod events;
mod files;
mod rules;
mod runs;
mod store;
mod upkeep;
mod uploads;

use std::fmt;

pub use accounts::AccountFacts;
pub use buckets::BucketFacts;
pub use events::EventFacts;
pub use files::FileFacts;
pub use rules::RuleFacts;
pub use runs::RunFacts;
pub use store::StoreFacts;
pub use upkeep::UpkeepFacts;
pub use uploads::UploadFacts;

/// Every port, for who wires them up; a consumer holds the ports that it needs.
pub trait Catalog:
    AccountFacts
    + BucketFacts
    + EventFacts
    + FileFacts
    + RuleFacts
    + RunFacts
    + StoreFacts
    + UpkeepFacts
    + UploadFacts
    + fmt::Debug
{
}

impl<T> Catalog for T where
    T: AccountFacts
        + BucketFacts
        + EventFacts
        + FileFacts
        + RuleFacts
        + RunFacts
        + StoreFacts
        + UpkeepFacts
        + UploadFacts
        + fmt::Debug
{
}
