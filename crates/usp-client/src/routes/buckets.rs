//! Buckets and their policy.

use reqwest::Method;
use usp_model::BucketName;

use crate::call::Call;
use crate::types::{Bucket, BucketPatch, Items, NewBucket};
use crate::{Client, ClientError};

impl Client {
    pub async fn buckets(&self) -> Result<Vec<Bucket>, ClientError> {
        let items: Items<Bucket> = self.ask(Call::get(self.base().at(["buckets"])?)).await?;
        Ok(items.items)
    }

    pub async fn bucket(&self, name: &BucketName) -> Result<Bucket, ClientError> {
        self.ask(Call::get(self.base().at(["buckets", name.as_str()])?)).await
    }

    /// Errors: `Conflict` when the name is taken; `InvalidInput` for a policy that does not hold.
    pub async fn create_bucket(&self, bucket: &NewBucket) -> Result<Bucket, ClientError> {
        self.ask(Call::new(Method::POST, self.base().at(["buckets"])?).json(bucket)?).await
    }

    pub async fn patch_bucket(&self, name: &BucketName, patch: &BucketPatch) -> Result<Bucket, ClientError> {
        self.ask(Call::new(Method::PATCH, self.base().at(["buckets", name.as_str()])?).json(patch)?).await
    }

    /// Errors: `Conflict` while it is not empty.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), ClientError> {
        self.tell(Call::new(Method::DELETE, self.base().at(["buckets", name.as_str()])?)).await
    }
}
