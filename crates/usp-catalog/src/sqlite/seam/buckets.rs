use async_trait::async_trait;
use rusqlite::Connection;
use usp_model::{Act, Bucket, BucketName, BucketPolicy, Result, Usage};

use crate::BucketFacts;
use crate::records::BucketRecord;
use crate::sqlite::{SqliteCatalog, buckets, commit, totals};

#[async_trait]
impl BucketFacts for SqliteCatalog {
    async fn create_bucket(&self, act: Act, name: BucketName, policy: BucketPolicy) -> Result<Bucket> {
        self.writer.write("create bucket", act, move |tx| buckets::create(tx, &name, policy, tx.at())).await
    }

    async fn bucket(&self, name: &BucketName) -> Result<BucketRecord> {
        let name = name.clone();
        self.readers.read("find bucket", move |conn| buckets::record(conn, &name)).await
    }

    async fn list_buckets(&self, visible: Option<Vec<BucketName>>) -> Result<Vec<Bucket>> {
        self.readers.read("list buckets", move |conn| buckets::list(conn, visible.as_deref())).await
    }

    async fn update_bucket(&self, act: Act, name: &BucketName, policy: BucketPolicy) -> Result<Bucket> {
        let name = name.clone();
        self.writer.write("update bucket", act, move |tx| buckets::update(tx, &name, policy, tx.at())).await
    }

    async fn delete_bucket(&self, act: Act, name: &BucketName) -> Result<()> {
        let name = name.clone();
        self.writer.write("delete bucket", act, move |tx| buckets::delete(tx, &name)).await
    }

    async fn check_quota(
        &self,
        bucket: &BucketName,
        quota_bytes: u64,
        size_bytes: u64,
        replaced_bytes: u64,
    ) -> Result<()> {
        let bucket = bucket.clone();
        let check = move |conn: &Connection| {
            commit::check_quota(conn, &bucket, quota_bytes, size_bytes, replaced_bytes)
        };
        self.readers.read("check quota", check).await
    }

    async fn usage(&self) -> Result<Vec<Usage>> {
        self.readers.read("sum usage", totals::usage).await
    }
}
