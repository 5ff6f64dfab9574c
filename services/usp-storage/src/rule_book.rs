//! Every rule that is in force, compiled once and asked at every commit.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use cel::{Context, Env, Program, Value};
use parking_lot::RwLock;
use usp_catalog::records::{NewRun, step_names};
use usp_model::{BucketPolicy, Error, ErrorKind, Release, Result, Rule, RuleName, RunId, Violation};

mod cost;
mod facts;

use cost::STEP_COUNT_SUM_MAX;
pub(crate) use facts::Facts;

/// Of the reason why a condition failed, in the log.
const LOGGED_CHARS_MAX: usize = 200;

/// The rules in force: a book that is replaced as a whole. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct RulesInForce(Arc<RwLock<Arc<RuleBook>>>);

impl RulesInForce {
    pub(crate) fn none() -> Self {
        Self(Arc::new(RwLock::new(Arc::new(RuleBook::empty()))))
    }

    /// The rules as they are now; a later change does not change what this gives.
    pub(crate) fn book(&self) -> Arc<RuleBook> {
        Arc::clone(&self.0.read())
    }

    pub(super) fn replace(&self, book: RuleBook) {
        *self.0.write() = Arc::new(book);
    }
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

    /// The book with the version that a rule was given.
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
        let added = context.add_variable("file", facts);
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
pub(super) fn on_a_deep_stack<T: Send>(read: impl FnOnce() -> Result<T, String> + Send) -> Result<T, String> {
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

pub(super) fn absent_rule(name: &RuleName) -> Error {
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

pub(crate) fn invalid(action: &'static str) -> Error {
    Error::new(ErrorKind::InvalidInput, action)
}
