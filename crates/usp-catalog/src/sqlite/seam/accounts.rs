use async_trait::async_trait;
use usp_decide::account::UserPatch;
use usp_model::{Act, ApiKey, ApiKeyId, Grant, Result, Timestamp, User, UserName};

use crate::AccountFacts;
use crate::records::{ApiKeyRecord, RefreshRow, Rotation, UserRecord};
use crate::sqlite::tx::Tx;
use crate::sqlite::{SqliteCatalog, idempotency, keys, users};

#[async_trait]
impl AccountFacts for SqliteCatalog {
    async fn create_user(
        &self,
        act: Act,
        name: UserName,
        password_hash: Option<String>,
        grants: Vec<Grant>,
    ) -> Result<User> {
        self.writer
            .write("create user", act, move |tx| users::create(tx, name, password_hash, grants, tx.at()))
            .await
    }

    async fn user(&self, name: &UserName) -> Result<UserRecord> {
        let name = name.clone();
        self.readers.read("find user", move |conn| users::record(conn, &name)).await
    }

    async fn list_users(&self) -> Result<Vec<User>> {
        self.readers.read("list users", users::list).await
    }

    async fn update_user(
        &self,
        act: Act,
        name: &UserName,
        password_hash: Option<String>,
        grants: Option<Vec<Grant>>,
        disabled: Option<bool>,
    ) -> Result<User> {
        let name = name.clone();
        let patch = UserPatch { password_hash, grants, disabled };
        self.writer.write("update user", act, move |tx| users::update(tx, &name, patch, tx.at())).await
    }

    async fn delete_user(&self, act: Act, name: &UserName) -> Result<()> {
        let name = name.clone();
        self.writer.write("delete user", act, move |tx| users::delete(tx, &name)).await
    }

    async fn create_api_key(&self, act: Act, key: ApiKey, secret_hash: [u8; 32]) -> Result<()> {
        self.writer.write("create API key", act, move |tx| keys::create(tx, &key, secret_hash)).await
    }

    async fn api_key(&self, id: &ApiKeyId) -> Result<ApiKeyRecord> {
        let id = id.clone();
        self.readers.read("find API key", move |conn| keys::record(conn, &id)).await
    }

    async fn list_api_keys(&self, user: Option<UserName>) -> Result<Vec<ApiKey>> {
        self.readers.read("list API keys", move |conn| keys::list(conn, user.as_ref())).await
    }

    async fn touch_api_key(&self, act: Act, id: &ApiKeyId) -> Result<()> {
        let id = id.clone();
        let (asked, at) = (id.clone(), act.at);
        if !self.readers.read("find API key", move |conn| keys::wants_touch(conn, &asked, at)).await? {
            return Ok(());
        }
        self.writer.write("note use of API key", act, move |tx| keys::touch(tx, &id, tx.at())).await
    }

    async fn delete_api_key(&self, act: Act, id: &ApiKeyId) -> Result<()> {
        let id = id.clone();
        self.writer.write("delete API key", act, move |tx| keys::delete(tx, &id)).await
    }

    async fn add_refresh_token(&self, act: Act, row: RefreshRow) -> Result<()> {
        self.writer.write("add refresh token", act, move |tx| keys::add_token(tx, &row)).await
    }

    async fn rotate_refresh_token(
        &self,
        act: Act,
        hash: [u8; 32],
        next_hash: [u8; 32],
        next_expires_at: Timestamp,
    ) -> Result<Rotation> {
        self.writer
            .write("rotate refresh token", act, move |tx| {
                keys::rotate(tx, hash, next_hash, next_expires_at, tx.at())
            })
            .await
    }

    async fn prune_keys(&self, act: Act, limit: u32) -> Result<u64> {
        let prune = move |tx: &Tx<'_>| {
            Ok(idempotency::prune(tx, tx.at(), limit)? + keys::prune_tokens(tx, tx.at(), limit)?)
        };
        self.writer.write("prune keys", act, prune).await
    }
}
