//! What is measured.

use anyhow::Result;

use crate::bench::{Bench, Plan};
use crate::report::Layout;

pub(crate) mod download;
pub(crate) mod growth;
pub(crate) mod many;
pub(crate) mod small;
pub(crate) mod upload;
pub(crate) mod versions;
pub(crate) mod work;

/// One scenario of the benchmark.
pub(crate) struct Scenario {
    pub(crate) layout: Layout,
    pub(crate) run: fn(&mut Bench) -> Result<()>,
    /// Seconds on a quiet machine with two cores and everything installed.
    pub(crate) estimate: fn(&Plan) -> f64,
}

pub(crate) const ALL: &[Scenario] = &[
    upload::SCENARIO,
    small::SCENARIO,
    many::SCENARIO,
    versions::SCENARIO,
    download::SCENARIO,
    growth::SCENARIO,
    work::SCENARIO,
];
