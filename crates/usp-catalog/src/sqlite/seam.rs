//! The ports, method by method: which connection answers, and which module knows how.

mod accounts;
mod buckets;
mod events;
mod files;
mod rules;
mod runs;
mod store;
mod upkeep;
mod uploads;
