//! Users, API keys, refresh tokens.

use async_trait::async_trait;
use usp_model::{Act, ApiKey, ApiKeyId, Grant, Result, Timestamp, User, UserName};

use crate::records::{ApiKeyRecord, RefreshRow, Rotation, UserRecord};

#[async_trait]
pub trait AccountFacts: Send + Sync + 'static {
    /// Errors: `Conflict` when the name is taken.
    async fn create_user(
        &self,
        act: Act,
        name: UserName,
        password_hash: Option<String>,
        grants: Vec<Grant>,
    ) -> Result<User>;
    /// Errors: `NotFound`.
    async fn user(&self, name: &UserName) -> Result<UserRecord>;
    async fn list_users(&self) -> Result<Vec<User>>;
    /// `None` leaves a part as it is. A new password or `disabled` ends the user's refresh tokens. Errors: `NotFound`.
    async fn update_user(
        &self,
        act: Act,
        name: &UserName,
        password_hash: Option<String>,
        grants: Option<Vec<Grant>>,
        disabled: Option<bool>,
    ) -> Result<User>;
    /// Deletes the user with keys and tokens. Errors: `NotFound`.
    async fn delete_user(&self, act: Act, name: &UserName) -> Result<()>;
    /// Errors: `NotFound` (user), `Conflict` (id).
    async fn create_api_key(&self, act: Act, key: ApiKey, secret_hash: [u8; 32]) -> Result<()>;
    /// Errors: `NotFound`.
    async fn api_key(&self, id: &ApiKeyId) -> Result<ApiKeyRecord>;
    async fn list_api_keys(&self, user: Option<UserName>) -> Result<Vec<ApiKey>>;
    /// Notes a use, at most once a minute. A key that is gone is no error.
    async fn touch_api_key(&self, act: Act, id: &ApiKeyId) -> Result<()>;
    /// Errors: `NotFound`.
    async fn delete_api_key(&self, act: Act, id: &ApiKeyId) -> Result<()>;
    /// Errors: `NotFound` (user).
    async fn add_refresh_token(&self, act: Act, row: RefreshRow) -> Result<()>;
    /// Swaps an unused, unexpired token for `next` (same family); a used one ends the family.
    async fn rotate_refresh_token(
        &self,
        act: Act,
        hash: [u8; 32],
        next_hash: [u8; 32],
        next_expires_at: Timestamp,
    ) -> Result<Rotation>;
    /// Forgets keys of idempotency and refresh tokens whose time is over, `limit` of each at most; gives their number.
    async fn prune_keys(&self, act: Act, limit: u32) -> Result<u64>;
}
