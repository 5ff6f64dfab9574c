//! Tokens, users, API keys, sums.

use reqwest::Method;
use serde_json::json;
use usp_model::{ApiKeyId, UserName};

use crate::call::Call;
use crate::types::{
    ApiKey, CheckReport, CollectReport, CreatedApiKey, CreatedUser, DamageReport, Items, Me, NewApiKey,
    NewUser, QueueStatus, ScrubStatus, Stats, TokenPair, User, UserPatch,
};
use crate::{Client, ClientError, Token};

impl Client {
    /// Trades a password for tokens. Errors: `Unauthenticated`, `RateLimited`.
    pub async fn sign_in(&self, user: &UserName, password: &str) -> Result<TokenPair, ClientError> {
        let grant = json!({"grant_type": "password", "username": user, "password": password});
        self.ask(Call::new(Method::POST, self.base().at(["auth", "token"])?).json(&grant)?).await
    }

    /// Trades a refresh token, which is used up by it, for new tokens. Errors: `Unauthenticated`.
    pub async fn refresh(&self, token: &Token) -> Result<TokenPair, ClientError> {
        let grant = json!({"grant_type": "refresh_token", "refresh_token": token.expose()});
        self.ask(Call::new(Method::POST, self.base().at(["auth", "token"])?).json(&grant)?).await
    }

    pub async fn me(&self) -> Result<Me, ClientError> {
        self.ask(Call::get(self.base().at(["me"])?)).await
    }

    pub async fn users(&self) -> Result<Vec<User>, ClientError> {
        let items: Items<User> = self.ask(Call::get(self.base().at(["users"])?)).await?;
        Ok(items.items)
    }

    pub async fn create_user(&self, user: &NewUser) -> Result<CreatedUser, ClientError> {
        self.ask(Call::new(Method::POST, self.base().at(["users"])?).json(user)?).await
    }

    pub async fn patch_user(&self, name: &UserName, patch: &UserPatch) -> Result<User, ClientError> {
        self.ask(Call::new(Method::PATCH, self.base().at(["users", name.as_str()])?).json(patch)?).await
    }

    pub async fn delete_user(&self, name: &UserName) -> Result<(), ClientError> {
        self.tell(Call::new(Method::DELETE, self.base().at(["users", name.as_str()])?)).await
    }

    /// The caller's own; an admin's list holds everybody's.
    pub async fn api_keys(&self) -> Result<Vec<ApiKey>, ClientError> {
        let items: Items<ApiKey> = self.ask(Call::get(self.base().at(["api-keys"])?)).await?;
        Ok(items.items)
    }

    pub async fn create_api_key(&self, key: &NewApiKey) -> Result<CreatedApiKey, ClientError> {
        self.ask(Call::new(Method::POST, self.base().at(["api-keys"])?).json(key)?).await
    }

    pub async fn revoke_api_key(&self, id: &ApiKeyId) -> Result<(), ClientError> {
        self.tell(Call::new(Method::DELETE, self.base().at(["api-keys", id.as_str()])?)).await
    }

    pub async fn stats(&self) -> Result<Stats, ClientError> {
        self.ask(Call::get(self.base().at(["stats"])?)).await
    }

    pub async fn queue(&self) -> Result<QueueStatus, ClientError> {
        self.ask(Call::get(self.base().at(["queue"])?)).await
    }

    /// Runs one cycle of collection and waits for its end. Errors: `Locked` while one runs.
    pub async fn collect(&self, dry_run: bool) -> Result<CollectReport, ClientError> {
        let call = Call::new(Method::POST, self.base().at(["store", "collect"])?).patient();
        self.ask(call.json(&json!({"dry_run": dry_run}))?).await
    }

    /// Begins a scrub, at `pace` bytes per second if given; with `resume` goes on with one that was cut off, or changes
    /// the pace of the one that runs. Errors: `Locked` while one runs.
    pub async fn start_scrub(&self, pace: Option<u64>, resume: bool) -> Result<ScrubStatus, ClientError> {
        let call = Call::new(Method::POST, self.base().at(["store", "scrub"])?);
        self.ask(call.json(&json!({"pace": pace, "resume": resume}))?).await
    }

    pub async fn scrub_status(&self) -> Result<ScrubStatus, ClientError> {
        self.ask(Call::get(self.base().at(["store", "scrub"])?)).await
    }

    /// Stops the scrub that runs; what it did counts.
    pub async fn stop_scrub(&self) -> Result<ScrubStatus, ClientError> {
        self.ask(Call::new(Method::DELETE, self.base().at(["store", "scrub"])?)).await
    }

    /// Compares catalogue and packs and waits for the end. Errors: `Locked` while a collection runs.
    pub async fn check_store(&self, deep: bool) -> Result<CheckReport, ClientError> {
        let call = Call::new(Method::POST, self.base().at(["store", "check"])?).patient();
        self.ask(call.json(&json!({"deep": deep}))?).await
    }

    /// What the last scrub found, and the files that are hit.
    pub async fn damage(&self) -> Result<DamageReport, ClientError> {
        self.ask(Call::get(self.base().at(["store", "damage"])?).patient()).await
    }
}
