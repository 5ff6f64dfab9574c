//! Decisions: what a commit, a run, an upload, a collection come to.
//!
//! Pure functions over plain values: no database, no clock, no randomness but what is handed in. An engine of the catalogue
//! loads what a decision names, asks for it, and stores what it says:
//!
//! 1. **Load.** An engine on which each question is a round trip loads the facts of a whole group of jobs by set
//!    statements, into an overlay of its own; one that is in the process may ask job by job.
//! 2. **Decide.** The jobs of a group are decided in turn, each over the facts as the jobs before it left them.
//! 3. **Store.** What was decided is written with the rows and events that it names, in one transaction.
//!
//! | question | where |
//! |---|---|
//! | what does a commit make of a content: etag, version, conditions, quota, first state | [`commit`] |
//! | what do chunk references come to: known, new, doubted, gone | [`chunk`] |
//! | how long does a content live that several versions share | [`manifest`] |
//! | does a key of idempotency answer | [`idempotency`] |
//! | what may be changed of a file | [`file`] |
//! | what does a bucket take: quota, policy, deletion | [`bucket`] |
//! | when does an upload expire, what may be appended, what may be joined | [`upload`] |
//! | what becomes of a run: attempts, retries, reports, cancellation | [`run`] |
//! | when is a file ready | [`rollup`] |
//! | whose turn is it | [`claim`] |
//! | what may be collected | [`collect`] |
//! | what may be done with a pack: seal, doom, erase | [`pack`] |
//! | what an event says | [`event`] |
//! | what a list shows | [`list`] |
//! | what of the log a query asks for, and what is forgotten | [`log`] |
//! | which version does a rule get, what is retired | [`rule`] |
//! | what does a change of a user end, what is a refresh token good for | [`account`] |

pub mod account;
pub mod bucket;
pub mod chunk;
pub mod claim;
pub mod collect;
pub mod commit;
pub mod event;
pub mod file;
pub mod idempotency;
pub mod list;
pub mod log;
pub mod manifest;
pub mod pack;
pub mod rollup;
pub mod rule;
pub mod run;
pub mod upload;

#[cfg(test)]
mod testing;
