//! Rules: read from YAML, compiled once, asked at every commit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use cel::{Context, Env, Program, Value};
use serde::Deserialize;
use serde_json::json;
use usp_catalog::records::{NewRun, step_names};
use usp_model::{BucketPolicy, Error, ErrorKind, File, Release, Result, Rule, RuleName, RunId, Violation};

mod cost;
mod sources;

pub use sources::RuleSources;

use cost::STEP_COUNT_SUM_MAX;

/// Rules of one file, which may hold several separated by `---`; and rules in all that are written.
const RULE_COUNT_MAX: usize = 1_000;

const LOGGED_CHARS_MAX: usize = 200;

const BUILT_IN: &str = include_str!("rules/built-in.yaml");

/// The rules that come with usp, so that a table or a text is profiled without any set-up.
pub fn built_in_rules() -> Result<Vec<Rule>> {
    parse_rules(BUILT_IN)
}

/// Reads rules from YAML. Errors: `InvalidInput` with every violation found.
pub fn parse_rules(yaml: &str) -> Result<Vec<Rule>> {
    let mut rules = Vec::new();
    for document in serde_norway::Deserializer::from_str(yaml.trim_start_matches('\u{feff}')) {
        if rules.len() == RULE_COUNT_MAX {
            return Err(
                invalid("read rules").because(format!("one file holds at most {RULE_COUNT_MAX} rules"))
            );
        }
        let rule = Option::<Rule>::deserialize(document)
            .map_err(|source| invalid("read rules").because(format!("not a rule: {source}")))?;
        rules.extend(rule);
    }
    Ok(rules)
}

fn invalid(action: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, action)
}

/// Every rule that counts now, by name, with its condition compiled.
#[derive(Clone)]
pub(crate) struct RuleBook {
    env: Arc<Env>,
    rules: BTreeMap<RuleName, Arc<Compiled>>,
    /// Made when it is first asked for: every claim does.
    bounds: OnceLock<Arc<BTreeMap<String, Option<u32>>>>,
}

struct Compiled {
    rule: Rule,
    /// `None`: applies only when asked for by name.
    condition: Option<Condition>,
}

#[derive(Clone)]
struct Condition {
    program: Arc<Program>,
    steps: u64,
}

/// What a condition can speak of: a file that is about to be committed, or one that stands.
pub(crate) struct Facts(serde_json::Value);

/// The fields of `file`.
const FACTS: [&str; 10] = [
    "bucket",
    "key",
    "name",
    "extension",
    "media_type",
    "declared_media_type",
    "size",
    "owner",
    "labels",
    "metadata",
];

impl Facts {
    pub(crate) fn of(file: &File) -> Self {
        Self(json!({
            "bucket": file.bucket,
            "key": file.key,
            "name": file.key.file_name(),
            "extension": file.key.extension().unwrap_or_default(),
            "media_type": file.media_type,
            "declared_media_type": file.declared_media_type.as_ref().map_or("", |media_type| media_type.as_str()),
            "size": file.size_bytes,
            "owner": file.owner,
            "labels": file.labels,
            "metadata": file.metadata,
        }))
    }

    pub(crate) fn from_json(value: serde_json::Value) -> Self {
        Self(value)
    }
}

/// Errors: `InvalidInput` naming the first rule that is not valid, and what is wrong with it.
pub fn check_rules(rules: &[Rule]) -> Result<()> {
    RuleBook::compile(rules.to_vec()).map(drop)
}

impl RuleBook {
    pub(crate) fn empty() -> Self {
        Self { env: Arc::new(Env::stdlib()), rules: BTreeMap::new(), bounds: OnceLock::new() }
    }

    /// Errors: `InvalidInput` naming the rule and what is wrong with it.
    pub(crate) fn compile(rules: Vec<Rule>) -> Result<Self> {
        rules.into_iter().try_fold(Self::empty(), Self::with)
    }

    /// The book with this rule in it, in place of one of its name.
    ///
    /// Errors: as `compile`, and when all conditions together could take too long.
    pub(crate) fn with(mut self, rule: Rule) -> Result<Self> {
        let condition = self.condition_of(&rule)?;
        self.bounds = OnceLock::new();
        self.rules.insert(rule.name.clone(), Arc::new(Compiled { rule, condition }));
        let steps = self.rules.values().filter_map(|compiled| compiled.condition.as_ref());
        if steps.map(|condition| condition.steps).sum::<u64>() > STEP_COUNT_SUM_MAX {
            return Err(invalid("read rules").because(format!(
                "the conditions of all rules could take more than {STEP_COUNT_SUM_MAX} steps for one file"
            )));
        }
        Ok(self)
    }

    pub(crate) fn without(mut self, name: &RuleName) -> Self {
        self.bounds = OnceLock::new();
        self.rules.remove(name);
        self
    }

    /// Notes the version that a rule was given.
    pub(crate) fn versioned(mut self, rule: Rule) -> Self {
        if let Some(compiled) = self.rules.get_mut(&rule.name) {
            let condition = compiled.condition.clone();
            *compiled = Arc::new(Compiled { rule, condition });
        }
        self
    }

    fn condition_of(&self, rule: &Rule) -> Result<Option<Condition>> {
        let refused = |detail: String, violations: Vec<Violation>| {
            let detail = format!("rule '{}' is not valid: {detail}", rule.name);
            invalid("read rule").about(&rule.name).because(detail).with_violations(violations)
        };
        let violations = rule.violations();
        if !violations.is_empty() {
            return Err(refused(sentence(&violations), violations));
        }
        if rule.when.trim().is_empty() {
            return Ok(None);
        }
        let refused = |detail: String| refused(detail.clone(), vec![Violation::new("/when", detail)]);
        let compiled = on_a_deep_stack(|| {
            let program = self.env.compile(&rule.when);
            let program = program.map_err(|source| format!("not a CEL condition: {source}"))?;
            let steps = cost::steps(program.expression())?;
            Ok(Condition { program: Arc::new(program), steps })
        });
        compiled.map(Some).map_err(refused)
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.values().map(|compiled| &compiled.rule)
    }

    /// How many runs of each rule may be held at once; one that says nothing has no bound.
    pub(crate) fn bounds(&self) -> Arc<BTreeMap<String, Option<u32>>> {
        let bounds = || self.rules().map(|rule| (rule.name.to_string(), rule.concurrency)).collect();
        Arc::clone(self.bounds.get_or_init(|| Arc::new(bounds())))
    }

    /// Errors: `NotFound`.
    pub(crate) fn get(&self, name: &RuleName) -> Result<&Rule> {
        self.rules.get(name).map(|compiled| &compiled.rule).ok_or_else(|| absent_rule(name))
    }

    /// Whether the rule's condition holds. Errors: `NotFound`; `InvalidInput` when the condition cannot be evaluated.
    pub(crate) fn matches(&self, name: &RuleName, facts: &Facts) -> Result<bool> {
        let compiled = self.rules.get(name).ok_or_else(|| absent_rule(name))?;
        holds(compiled, &self.context(facts)?)
    }

    fn context(&self, facts: &Facts) -> Result<Context<'static, 'static>> {
        let mut context = Context::with_env(Arc::clone(&self.env));
        let added = context.add_variable("file", &facts.0);
        added.map_err(|source| invalid("evaluate rules").because(source.to_string()))?;
        Ok(context)
    }

    /// The runs of a file that is about to be committed, and when readers may see it.
    ///
    /// A condition that fails does not match: it is logged, and `rules test` shows it. `wanted` applies whatever its
    /// condition says. Errors: `NotFound` for an unknown `wanted`.
    pub(crate) fn plan(
        &self,
        policy: &BucketPolicy,
        facts: &Facts,
        wanted: Option<&RuleName>,
    ) -> Result<(Vec<NewRun>, Release)> {
        if let Some(name) = wanted {
            self.get(name)?;
        }
        let context = self.context(facts)?;
        let mut runs = Vec::new();
        let mut release = policy.release;
        for compiled in self.rules.values() {
            let rule = &compiled.rule;
            let allowed = policy.rules.as_ref().is_none_or(|rules| rules.contains(&rule.name));
            let applies = wanted == Some(&rule.name)
                || allowed
                    && holds(compiled, &context).unwrap_or_else(|error| {
                        // What fails may hold all that a file is labelled with.
                        let error: String = error.detail().chars().take(LOGGED_CHARS_MAX).collect();
                        tracing::warn!(rule = %rule.name, error, "the rule was passed over");
                        false
                    });
            if applies {
                if rule.release == Some(Release::AfterSuccess) {
                    release = Release::AfterSuccess;
                }
                runs.push(new_run(rule)?);
            }
        }
        Ok((runs, release))
    }
}

/// How deep a condition is nested is known once it was read, which goes as deep.
fn on_a_deep_stack<T: Send>(read: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    const STACK_BYTES: usize = 64 << 20;
    let no_thread = "no thread could be started to read the condition";
    std::thread::scope(|scope| {
        let reading = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, read);
        let reading = reading.map_err(|source| format!("{no_thread}: {source}"))?;
        reading.join().unwrap_or_else(|_panic| Err("it cannot be read".to_owned()))
    })
}

/// Errors: `InvalidInput` when the condition fails for this file.
fn holds(compiled: &Compiled, context: &Context<'_, '_>) -> Result<bool> {
    let Some(condition) = &compiled.condition else { return Ok(false) };
    let failed = |reason: String| {
        invalid("evaluate rule").about(&compiled.rule.name).because(format!("the condition fails: {reason}"))
    };
    match condition.program.execute(context) {
        Ok(Value::Bool(holds)) => Ok(holds),
        Ok(_) => Err(failed("it does not give true or false".to_owned())),
        Err(source) => Err(failed(source.to_string())),
    }
}

/// A run of `rule`, with an id of its own.
pub(crate) fn new_run(rule: &Rule) -> Result<NewRun> {
    Ok(NewRun {
        id: RunId::random()?,
        rule: rule.name.clone(),
        rule_version: rule.version,
        retry: rule.retry.clone(),
        priority: rule.priority,
        required: rule.required,
        steps: step_names(&rule.steps),
    })
}

fn absent_rule(name: &RuleName) -> Error {
    Error::new(ErrorKind::NotFound, "find rule")
        .because(format!("there is no rule '{name}' (usp rules ls lists them)"))
}

fn sentence(violations: &[Violation]) -> String {
    violations.iter().map(|v| format!("{} {}", v.pointer, v.detail)).collect::<Vec<_>>().join("; ")
}

impl fmt::Debug for RuleBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.rules().map(|rule| &rule.name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(media_type: &str, size: u64) -> Facts {
        facts_of("orders.csv", "csv", media_type, size)
    }

    fn facts_of(name: &str, extension: &str, media_type: &str, size: u64) -> Facts {
        Facts::from_json(json!({
            "bucket": "default", "key": format!("a/{name}"), "name": name, "extension": extension, "size": size,
            "media_type": media_type, "declared_media_type": "", "owner": "alice",
            "labels": {"team": "sales"}, "metadata": {},
        }))
    }

    fn book(when: &str) -> Result<RuleBook> {
        let yaml = format!("name: t\nwhen: {}\nsteps: [{{name: sniff, uses: sniff}}]", json!(when));
        RuleBook::compile(parse_rules(&yaml)?)
    }

    fn matches(when: &str) -> Result<bool> {
        book(when)?.matches(&RuleName::parse("t")?, &facts("text/csv", 10))
    }

    #[test]
    fn conditions_see_the_file() {
        for when in [
            "file.media_type == 'text/csv'",
            "file.size < 11 && file.extension == 'csv'",
            "file.key.startsWith('a/')",
            "file.labels.team == 'sales'",
            "'team' in file.labels && !('x' in file.metadata)",
        ] {
            assert!(matches(when).unwrap(), "{when}");
        }
        assert!(!matches("file.size > 10").unwrap());
    }

    #[test]
    fn a_condition_that_fails_does_not_match_and_says_why() {
        for when in ["file.labels.nothing == 'x'", "file.size", "1 + 'a' == 2"] {
            assert_eq!(matches(when).unwrap_err().kind(), ErrorKind::InvalidInput, "{when}");
            let plan =
                book(when).unwrap().plan(&BucketPolicy::default(), &facts("text/csv", 1), None).unwrap();
            assert!(plan.0.is_empty());
        }
    }

    #[test]
    fn the_facts_of_a_file_are_those_that_conditions_may_speak_of() {
        let facts = facts("text/csv", 1);
        let mut named: Vec<&str> = facts.0.as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = FACTS.to_vec();
        named.sort_unstable();
        known.sort_unstable();
        assert_eq!(named, known);
    }

    #[test]
    fn a_condition_that_is_no_cel_is_refused_with_a_pointer() {
        let error = book("file.size >").unwrap_err();
        assert_eq!(error.violations()[0].pointer, "/when");
    }

    #[test]
    fn the_built_in_rules_compile_and_take_tables_and_texts() {
        let book = RuleBook::compile(built_in_rules().unwrap()).unwrap();
        for media_type in [
            "text/csv",
            "text/tab-separated-values",
            "application/json",
            "application/x-ndjson",
            "text/plain",
        ] {
            let nameless = facts_of("orders", "", media_type, 1);
            let (runs, release) = book.plan(&BucketPolicy::default(), &nameless, None).unwrap();
            assert_eq!((runs.len(), release), (1, Release::Immediate), "{media_type}");
        }
        let image = facts_of("a.png", "png", "image/png", 1);
        assert!(book.plan(&BucketPolicy::default(), &image, None).unwrap().0.is_empty());
    }

    #[test]
    fn what_calls_itself_a_table_but_is_none_still_gets_its_report() {
        let book = RuleBook::compile(built_in_rules().unwrap()).unwrap();
        let broken = facts("application/octet-stream", 1);
        assert_eq!(book.plan(&BucketPolicy::default(), &broken, None).unwrap().0.len(), 1);
    }

    #[test]
    fn a_bucket_can_switch_rules_off_but_a_wanted_rule_still_runs() {
        let book = book("true").unwrap();
        let policy = BucketPolicy { rules: Some(Vec::new()), ..BucketPolicy::default() };
        assert!(book.plan(&policy, &facts("text/csv", 1), None).unwrap().0.is_empty());
        let wanted = RuleName::parse("t").unwrap();
        assert_eq!(book.plan(&policy, &facts("text/csv", 1), Some(&wanted)).unwrap().0.len(), 1);
    }
}
