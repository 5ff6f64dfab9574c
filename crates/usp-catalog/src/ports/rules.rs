//! Rules, as they are in force and as they were written.

use async_trait::async_trait;
use usp_model::{Act, Result, Rule, RuleName};

use crate::records::Erased;

#[async_trait]
pub trait RuleFacts: Send + Sync + 'static {
    /// Keeps the rule; gives it the next version if its meaning changed. All other rules stay.
    async fn put_rule(&self, act: Act, rule: Rule) -> Result<Rule>;
    /// Rules at their newest version, by name. Rules not among `keep` at start-up are retired with `retire_rules`.
    async fn list_rules(&self) -> Result<Vec<Rule>>;
    async fn retire_rules(&self, act: Act, keep: Vec<RuleName>) -> Result<()>;
    /// As `put_rule`, for a rule that was written over the API and is still there after a restart.
    async fn write_rule(&self, act: Act, rule: Rule) -> Result<Rule>;
    /// Deletes a rule that was written; `instead` takes its place, or none.
    async fn erase_rule(&self, act: Act, name: &RuleName, instead: Option<Rule>) -> Result<Erased>;
    /// Rules that were written, by name, as they were written.
    async fn written_rules(&self) -> Result<Vec<Rule>>;
}
