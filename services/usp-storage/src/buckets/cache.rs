//! A cache of buckets: every upload asks for one, and they hardly ever change.
//!
//! Only this process changes them, and it forgets a bucket after every change. What was read before the change began is
//! not remembered after it.

use std::collections::HashMap;

use parking_lot::RwLock;
use usp_catalog::BucketFacts;
use usp_catalog::records::BucketRecord;
use usp_model::{BucketName, Result};

/// More than this are asked for anew now and then.
const BUCKET_COUNT_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct BucketCache(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    /// How often something was forgotten.
    generation: u64,
    buckets: HashMap<BucketName, BucketRecord>,
}

impl BucketCache {
    /// Errors: `NotFound`, and what the catalogue answers.
    pub(super) async fn get(&self, facts: &dyn BucketFacts, name: &BucketName) -> Result<BucketRecord> {
        let generation = {
            let known = self.0.read();
            if let Some(record) = known.buckets.get(name) {
                return Ok(record.clone());
            }
            known.generation
        };
        let record = facts.bucket(name).await?;
        let mut known = self.0.write();
        if known.generation == generation {
            if known.buckets.len() >= BUCKET_COUNT_MAX {
                known.buckets.clear();
            }
            known.buckets.insert(name.clone(), record.clone());
        }
        Ok(record)
    }

    /// Call it when a change has been committed, or may have been.
    pub(super) fn forget(&self, name: &BucketName) {
        let mut known = self.0.write();
        known.generation += 1;
        known.buckets.remove(name);
    }
}
