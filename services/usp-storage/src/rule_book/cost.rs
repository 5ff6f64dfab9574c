//! What a condition may be, so that asking it is a matter of a moment.
//!
//! Conditions are asked in every commit, on threads that others wait for, and CEL by itself bounds neither time nor memory:
//! loops in loops last for hours, a list that is joined to itself in a loop doubles, a long chain of operators fills the
//! stack, and a pattern can take a second to compile. So conditions are bounded where they are read:
//!
//! 1. They are not nested deeper than [`DEPTH_MAX`].
//! 2. Loops give true or false, and go over what is written down or over `file.labels` and `file.metadata`. Nothing is put
//!    together in them, and no pattern is matched.
//! 3. Patterns are written down, and short enough when compiled.
//! 4. The steps of all loops together are at most [`STEP_COUNT_MAX`].
//! 5. They speak of `file` and of what a file has: what is misspelt would never hold, and nobody would hear of it.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};
use regex::RegexBuilder;
use usp_model::error::printable;
use usp_model::limits::LABEL_COUNT_MAX;

use super::facts::Facts;

/// Many more than a condition needs, and few enough for every commit.
pub(super) const STEP_COUNT_MAX: u64 = 10_000;
/// Of all conditions together.
pub(super) const STEP_COUNT_SUM_MAX: u64 = 200_000;
const DEPTH_MAX: u32 = 100;
/// CEL compiles a pattern anew each time: this takes a few milliseconds.
const PATTERN_BYTES_MAX: usize = 256 << 10;
const PATTERN_STEPS: u64 = 2_000;

const ADD: &str = "_+_";
const MATCHES: &str = "matches";

/// What CEL knows without being told.
const TYPES: [&str; 13] = [
    "bool",
    "bytes",
    "double",
    "duration",
    "dyn",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "timestamp",
    "type",
    "uint",
];

/// The steps that it takes at most, or why it is refused.
pub(super) fn steps(condition: &IdedExpr) -> Result<u64, String> {
    let place = Place { depth: 0, is_in_loop: false, names: None };
    let steps = of_expression(condition, place)?;
    if steps > STEP_COUNT_MAX {
        return Err(format!(
            "it could take more than {STEP_COUNT_MAX} steps for one file; use fewer loops within loops, or shorter lists"
        ));
    }
    Ok(steps)
}

#[derive(Clone, Copy)]
struct Place<'e> {
    depth: u32,
    is_in_loop: bool,
    /// What the loops around it call their elements and results.
    names: Option<&'e Names<'e>>,
}

struct Names<'e> {
    own: [&'e str; 2],
    around: Option<&'e Names<'e>>,
}

impl Place<'_> {
    fn knows(&self, name: &str) -> bool {
        let mut names = self.names;
        while let Some(Names { own, around }) = names {
            if own.contains(&name) {
                return true;
            }
            names = *around;
        }
        name == "file" || TYPES.contains(&name)
    }
}

fn of_expression(expression: &IdedExpr, place: Place<'_>) -> Result<u64, String> {
    if place.depth > DEPTH_MAX {
        return Err(format!(
            "it is nested more than {DEPTH_MAX} deep; use shorter chains, or lists and `in`"
        ));
    }
    let below = Place { depth: place.depth + 1, ..place };
    let steps = match &expression.expr {
        Expr::Unspecified | Expr::Literal(_) => 0,
        Expr::Ident(name) if place.knows(name) => 0,
        Expr::Ident(name) => {
            return Err(format!("there is no '{}'; a condition speaks of 'file'", printable(name)));
        }
        Expr::Select(select) => {
            let is_of_file = matches!(&select.operand.expr, Expr::Ident(name) if name == "file");
            if is_of_file && !Facts::NAMES.contains(&select.field.as_str()) {
                let field = printable(&select.field);
                return Err(format!("a file has no '{field}'; it has {}", Facts::NAMES.join(", ")));
            }
            of_expression(&select.operand, below)?
        }
        Expr::Call(call) => of_call(call, below)?,
        Expr::List(list) => of_all(&list.elements, below)?,
        Expr::Map(map) => of_entries(map.entries.iter().map(|entry| &entry.expr), below)?,
        Expr::Struct(made) => of_entries(made.entries.iter().map(|entry| &entry.expr), below)?,
        Expr::Comprehension(each) => of_loop(each, below)?,
    };
    Ok(steps.saturating_add(1))
}

fn of_all<'e>(expressions: impl IntoIterator<Item = &'e IdedExpr>, place: Place<'_>) -> Result<u64, String> {
    expressions.into_iter().try_fold(0, |sum: u64, next| Ok(sum.saturating_add(of_expression(next, place)?)))
}

fn of_entries<'e>(entries: impl Iterator<Item = &'e EntryExpr>, place: Place<'_>) -> Result<u64, String> {
    let expressions = entries.flat_map(|entry| match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    });
    of_all(expressions, place)
}

fn of_call(call: &CallExpr, place: Place<'_>) -> Result<u64, String> {
    let steps = of_all(call.target.as_deref().into_iter().chain(&call.args), place)?;
    match call.func_name.as_str() {
        ADD if place.is_in_loop => Err("a loop puts nothing together; take '+' out of it".to_owned()),
        MATCHES if place.is_in_loop => {
            Err("a loop matches no pattern; use startsWith, endsWith or contains".to_owned())
        }
        MATCHES => {
            check_pattern(call.args.last())?;
            Ok(steps.saturating_add(PATTERN_STEPS))
        }
        _ => Ok(steps),
    }
}

fn check_pattern(pattern: Option<&IdedExpr>) -> Result<(), String> {
    let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern.map(|pattern| &pattern.expr) else {
        return Err("a pattern of 'matches' is written down as a string".to_owned());
    };
    let compiled = RegexBuilder::new(pattern.inner()).size_limit(PATTERN_BYTES_MAX).build();
    compiled.map(drop).map_err(|source| format!("a pattern of 'matches' will not do: {source}"))
}

fn of_loop(each: &ComprehensionExpr, place: Place<'_>) -> Result<u64, String> {
    if let Expr::List(_) | Expr::Map(_) = &each.accu_init.expr {
        return Err("'map' and 'filter' are not for conditions; use 'all' or 'exists'".to_owned());
    }
    let count = range_count_max(&each.iter_range).ok_or_else(|| {
        "a loop goes over file.labels, file.metadata, or a list or map that is written down".to_owned()
    })?;
    let around = of_all([&each.iter_range, &each.accu_init], place)?;
    // `exists_one` counts in its step: what is asked of each element stands before that.
    let step = match (&each.accu_init.expr, &each.loop_step.expr) {
        (Expr::Literal(LiteralValue::Int(_)), Expr::Call(counts)) => {
            counts.args.first().unwrap_or(&each.loop_step)
        }
        _ => &each.loop_step,
    };
    let names = Names { own: [&each.iter_var, &each.accu_var], around: place.names };
    let within = Place { names: Some(&names), ..place };
    let once = of_all([&each.loop_cond, step], Place { is_in_loop: true, ..within })?;
    let result = of_expression(&each.result, within)?;
    Ok(count.saturating_mul(once).saturating_add(around).saturating_add(result))
}

fn range_count_max(range: &IdedExpr) -> Option<u64> {
    let is_literal = |expression: &IdedExpr| matches!(expression.expr, Expr::Literal(_));
    match &range.expr {
        Expr::List(list) if list.elements.iter().all(is_literal) => Some(list.elements.len() as u64),
        Expr::Map(map) => {
            let is_plain = |entry: &EntryExpr| match entry {
                EntryExpr::MapEntry(entry) => is_literal(&entry.key) && is_literal(&entry.value),
                EntryExpr::StructField(_) => false,
            };
            map.entries.iter().all(|entry| is_plain(&entry.expr)).then_some(map.entries.len() as u64)
        }
        Expr::Select(select) if matches!(select.field.as_str(), "labels" | "metadata") => {
            matches!(&select.operand.expr, Expr::Ident(name) if name == "file")
                .then_some(LABEL_COUNT_MAX as u64)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use cel::Program;

    use super::*;

    fn steps_of(when: &str) -> Result<u64, String> {
        crate::rule_book::on_a_deep_stack(|| steps(Program::compile(when).unwrap().expression()))
    }

    #[test]
    fn what_people_write_is_taken() {
        // The parser balances such chains.
        let long = format!("file.size > 0{}", " && file.size > 0".repeat(200));
        for when in [
            long.as_str(),
            "file.media_type == 'text/csv' && file.key.startsWith('orders/')",
            "file.key.matches(r'^scans/\\d{4}/\\w+\\.(tif|png)$')",
            "file.labels.exists(name, name == 'team')",
            "['csv', 'tsv', 'json'].exists(known, known == file.extension)",
            "file.extension in ['csv', 'tsv', 'json']",
            "file.labels.all(name, ['team', 'stage', 'owner'].exists(known, known == name))",
            "file.metadata.exists(name, name.startsWith('x-') && size(file.metadata[name]) > 20)",
            "{'a': 1, 'b': 2}.exists(name, name == file.labels.kind)",
            "file.bucket + '/' + file.key == 'default/a'",
            "type(file.size) == int || string(file.size) == '7'",
            "file.labels.exists_one(name, name.startsWith('x-'))",
            "has(file.labels.team) && file.labels.team == 'sales'",
        ] {
            let steps = steps_of(when).unwrap();
            assert!(steps < STEP_COUNT_MAX / 2, "{when}: {steps}");
        }
    }

    #[test]
    fn what_could_take_long_or_much_is_refused() {
        let list = |count: usize| format!("[{}]", vec!["1"; count].join(","));
        let doubling = ".map(a,a+a)".repeat(60);
        for when in [
            format!("{0}.all(a, {0}.all(b, a > b))", list(200)),
            "file.labels.all(a, file.labels.all(b, file.labels.all(c, a != b && b != c)))".to_owned(),
            format!("['x']{doubling}.all(a, size(a) > 0)"),
            "['x'].all(a, size(a + a) > 0)".to_owned(),
            "file.key.split('').all(a, a != '')".to_owned(),
            format!("[{{'labels': {}}}].all(m, m.labels.all(x, x > 0))", list(2)),
            "[file.key].all(k, k != '')".to_owned(),
            "['a'].exists(k, file.key.matches(k))".to_owned(),
            "['a'].exists(k, file.key.matches('^a'))".to_owned(),
            "file.key.matches(file.labels.pattern)".to_owned(),
            r"file.key.matches(r'\w{200}')".to_owned(),
            "file.key.matches('(')".to_owned(),
            "fil.size > 1".to_owned(),
            "file.siz > 1".to_owned(),
            "['a'].exists(x, y == 'a')".to_owned(),
            "['a'].exists(x, x == 'a') && x == 'a'".to_owned(),
            format!("'1'{} == ''", "+'1'".repeat(1_900)),
            format!("file{} == 1", ".a".repeat(200)),
            format!("file.a{} == 1", "[0]".repeat(200)),
            ["file.key.matches('^a')"; 6].join(" || "),
        ] {
            assert!(steps_of(&when).is_err(), "{when}");
        }
    }
}
