//! Rules: what is there, and what one would do.

use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use usp_model::{FileId, RuleName};

use crate::call::Call;
use crate::types::{Items, Rule, RuleTest};
use crate::{Client, ClientError};

impl Client {
    pub async fn rules(&self) -> Result<Vec<Rule>, ClientError> {
        let items: Items<Rule> = self.ask(Call::get(self.base().at(["rules"])?)).await?;
        Ok(items.items)
    }

    pub async fn rule(&self, name: &RuleName) -> Result<Rule, ClientError> {
        self.ask(Call::get(self.base().at(["rules", name.as_str()])?)).await
    }

    /// Makes or replaces the rule; its version is given by the server.
    pub async fn put_rule(&self, name: &RuleName, rule: &impl Serialize) -> Result<Rule, ClientError> {
        let url = self.base().at(["rules", name.as_str()])?;
        self.ask(Call::new(Method::PUT, url).json(rule)?).await
    }

    /// Runs that were planned go on.
    pub async fn delete_rule(&self, name: &RuleName) -> Result<(), ClientError> {
        self.tell(Call::new(Method::DELETE, self.base().at(["rules", name.as_str()])?)).await
    }

    /// Says what the rule would do to the file, and does nothing.
    pub async fn test_rule(&self, name: &RuleName, file: &FileId) -> Result<RuleTest, ClientError> {
        let url = self.base().at(["rules", name.as_str(), "test"])?;
        self.ask(Call::new(Method::POST, url).json(&json!({"file_id": file}))?).await
    }
}
