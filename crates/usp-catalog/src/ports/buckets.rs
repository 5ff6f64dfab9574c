//! Buckets: what a bucket accepts, whose chunks it shares, what it holds.

use async_trait::async_trait;
use usp_model::{Act, Bucket, BucketName, BucketPolicy, Result, Usage};

use crate::records::BucketRecord;

#[async_trait]
pub trait BucketFacts: Send + Sync + 'static {
    /// Makes the bucket and its dedup domain (a named domain may exist already). Errors: `Conflict` when the name is taken.
    async fn create_bucket(&self, act: Act, name: BucketName, policy: BucketPolicy) -> Result<Bucket>;
    /// Errors: `NotFound`.
    async fn bucket(&self, name: &BucketName) -> Result<BucketRecord>;
    /// All buckets by name; `visible`: only these.
    async fn list_buckets(&self, visible: Option<Vec<BucketName>>) -> Result<Vec<Bucket>>;
    /// Replaces the policy; the dedup domain stays. Errors: `NotFound`, `Conflict` when the domain would change.
    async fn update_bucket(&self, act: Act, name: &BucketName, policy: BucketPolicy) -> Result<Bucket>;
    /// Errors: `NotFound`, `Conflict` while files or open uploads are in it.
    async fn delete_bucket(&self, act: Act, name: &BucketName) -> Result<()>;
    /// Whether so many bytes fit under the bucket's quota right now, in place of those that they replace; the commit asks
    /// again. Errors: `NotFound`, `StorageFull`.
    async fn check_quota(
        &self,
        bucket: &BucketName,
        quota_bytes: u64,
        size_bytes: u64,
        replaced_bytes: u64,
    ) -> Result<()>;
    /// Sums per bucket, and over all with `None` first.
    async fn usage(&self) -> Result<Vec<Usage>>;
}
