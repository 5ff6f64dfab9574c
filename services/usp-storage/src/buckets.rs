//! Buckets: made, changed, listed, deleted, and found for every call about what is in them.

use std::sync::Arc;

use usp_api::{Caller, NewBucket};
use usp_auth::{Permission, authorize};
use usp_catalog::BucketFacts;
use usp_catalog::records::BucketRecord;
use usp_model::{Act, Bucket, BucketName, BucketPolicy, Error, ErrorKind, Result, Violation};

use crate::access::{absent, scope};
use crate::core::{Core, run_to_end};
use crate::rule_book::RulesInForce;

mod cache;

use cache::BucketCache;

/// The part of storage that knows buckets. Clones share everything.
#[derive(Clone)]
pub(crate) struct Buckets {
    core: Arc<Core>,
    facts: Arc<dyn BucketFacts>,
    rules: RulesInForce,
    cache: Arc<BucketCache>,
}

impl Buckets {
    pub(crate) fn new(core: Arc<Core>, facts: Arc<dyn BucketFacts>, rules: RulesInForce) -> Self {
        Self { core, facts, rules, cache: Arc::default() }
    }

    /// The bucket, if the caller holds `permission` there. Errors: `NotFound`, `Denied`.
    pub(crate) async fn for_caller(
        &self,
        caller: &Caller,
        permission: Permission,
        name: &BucketName,
    ) -> Result<BucketRecord> {
        authorize(&caller.principal, permission, Some(name))?;
        // An absent bucket must answer word for word like a foreign one.
        self.record(name).await.map_err(|error| absent(error, || usp_auth::absent_bucket(name)))
    }

    /// The bucket, whoever asks. Errors: `NotFound`.
    pub(crate) async fn record(&self, name: &BucketName) -> Result<BucketRecord> {
        self.cache.get(&*self.facts, name).await
    }

    /// Makes the `default` bucket unless it is there.
    pub(crate) async fn ensure_default(&self) -> Result<()> {
        let name = BucketName::parse("default")?;
        match self.facts.create_bucket(self.core.duty("start"), name, BucketPolicy::default()).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(crate) async fn create_bucket(&self, caller: &Caller, act: Act, bucket: NewBucket) -> Result<Bucket> {
        authorize(&caller.principal, Permission::BucketCreate, None)?;
        self.check_policy(&bucket.policy, &BucketPolicy::default())?;
        self.facts.create_bucket(act, bucket.name, bucket.policy).await
    }

    pub(crate) async fn get_bucket(&self, caller: &Caller, name: BucketName) -> Result<Bucket> {
        Ok(self.for_caller(caller, Permission::BucketRead, &name).await?.bucket)
    }

    pub(crate) async fn list_buckets(&self, caller: &Caller) -> Result<Vec<Bucket>> {
        self.facts.list_buckets(scope(caller, Permission::BucketRead)).await
    }

    pub(crate) async fn update_bucket(
        &self,
        caller: &Caller,
        act: Act,
        name: BucketName,
        policy: BucketPolicy,
    ) -> Result<Bucket> {
        let standing = self.for_caller(caller, Permission::BucketManage, &name).await?;
        self.check_policy(&policy, &standing.bucket.policy)?;
        let facts = Arc::clone(&self.facts);
        self.change(name.clone(), async move { facts.update_bucket(act, &name, policy).await }).await
    }

    pub(crate) async fn delete_bucket(&self, caller: &Caller, act: Act, name: BucketName) -> Result<()> {
        self.for_caller(caller, Permission::BucketDelete, &name).await?;
        let facts = Arc::clone(&self.facts);
        self.change(name.clone(), async move { facts.delete_bucket(act, &name).await }).await
    }

    /// Whether so many bytes fit under the quota right now. Errors: `NotFound`, `StorageFull`.
    pub(crate) async fn check_quota(
        &self,
        bucket: &BucketName,
        quota_bytes: u64,
        size_bytes: u64,
        replaced_bytes: u64,
    ) -> Result<()> {
        self.facts.check_quota(bucket, quota_bytes, size_bytes, replaced_bytes).await
    }

    /// Changes a bucket and drops it from the cache, to the end: the change of a caller that goes away is made all the
    /// same, and nobody may go by what was before it.
    async fn change<T: Send + 'static>(
        &self,
        name: BucketName,
        change: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let cache = Arc::clone(&self.cache);
        run_to_end("change bucket", async move {
            let changed = change.await;
            cache.forget(&name);
            changed
        })
        .await
    }

    /// A rule that was named before may have been deleted since.
    fn check_policy(&self, policy: &BucketPolicy, standing: &BucketPolicy) -> Result<()> {
        let mut violations = policy.violations("/policy");
        let book = self.rules.book();
        let known: Vec<_> = standing.rules.iter().flatten().collect();
        for (index, rule) in policy.rules.iter().flatten().enumerate() {
            if book.get(rule).is_err() && !known.contains(&rule) {
                let detail = format!("there is no rule '{rule}'");
                violations.push(Violation::new(format!("/policy/rules/{index}"), detail));
            }
        }
        if violations.is_empty() {
            return Ok(());
        }
        let detail =
            violations.iter().map(|v| format!("{}: {}", v.pointer, v.detail)).collect::<Vec<_>>().join("; ");
        Err(Error::new(ErrorKind::InvalidInput, "check bucket policy")
            .because(detail)
            .with_violations(violations))
    }
}
