use async_trait::async_trait;
use usp_model::{Act, Result, Rule, RuleName};

use crate::RuleFacts;
use crate::records::Erased;
use crate::sqlite::{SqliteCatalog, rules};

#[async_trait]
impl RuleFacts for SqliteCatalog {
    async fn put_rule(&self, act: Act, rule: Rule) -> Result<Rule> {
        self.writer.write("put rule", act, move |tx| rules::put(tx, rule, tx.at())).await
    }

    async fn list_rules(&self) -> Result<Vec<Rule>> {
        self.readers.read("list rules", rules::list).await
    }

    async fn retire_rules(&self, act: Act, keep: Vec<RuleName>) -> Result<()> {
        self.writer.write("retire rules", act, move |tx| rules::retire(tx, &keep)).await
    }

    async fn write_rule(&self, act: Act, rule: Rule) -> Result<Rule> {
        self.writer.write("write rule", act, move |tx| rules::write(tx, rule, tx.at())).await
    }

    async fn erase_rule(&self, act: Act, name: &RuleName, instead: Option<Rule>) -> Result<Erased> {
        let name = name.clone();
        self.writer.write("erase rule", act, move |tx| rules::erase(tx, &name, instead, tx.at())).await
    }

    async fn written_rules(&self) -> Result<Vec<Rule>> {
        self.readers.read("list rules", rules::written).await
    }
}
