//! How long a condition can take, known before it is ever asked.
//!
//! CEL always ends, but loops in loops can make that last for hours, and conditions are asked in every commit. What a loop
//! goes over is bounded by what a file may have, so the steps of a condition can be summed.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr};
use usp_model::limits::LABEL_COUNT_MAX;

/// Many more than a condition needs, and few enough for every commit.
pub(super) const STEP_COUNT_MAX: u64 = 10_000;
/// What is neither written down nor a map of a file is at most as long as the longest text in it.
const RANGE_COUNT_MAX: u64 = 2_048;

/// Expressions that are evaluated at most.
pub(super) fn step_count_max(expression: &IdedExpr) -> u64 {
    let below = match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 0,
        Expr::Select(select) => step_count_max(&select.operand),
        Expr::Call(call) => sum(call.target.as_deref().into_iter().chain(&call.args)),
        Expr::List(list) => sum(&list.elements),
        Expr::Map(map) => map.entries.iter().map(|entry| of_entry(&entry.expr)).fold(0, u64::saturating_add),
        Expr::Struct(made) => {
            made.entries.iter().map(|entry| of_entry(&entry.expr)).fold(0, u64::saturating_add)
        }
        Expr::Comprehension(each) => {
            let once = sum([&each.loop_cond, &each.loop_step]);
            let around = sum([&each.iter_range, &each.accu_init, &each.result]);
            range_count_max(&each.iter_range).saturating_mul(once).saturating_add(around)
        }
    };
    below.saturating_add(1)
}

fn sum<'e>(expressions: impl IntoIterator<Item = &'e IdedExpr>) -> u64 {
    expressions.into_iter().map(step_count_max).fold(0, u64::saturating_add)
}

fn of_entry(entry: &EntryExpr) -> u64 {
    match entry {
        EntryExpr::StructField(field) => step_count_max(&field.value),
        EntryExpr::MapEntry(entry) => sum([&entry.key, &entry.value]),
    }
}

fn range_count_max(range: &IdedExpr) -> u64 {
    match &range.expr {
        Expr::List(list) => list.elements.len() as u64,
        Expr::Select(select) if matches!(select.field.as_str(), "labels" | "metadata") => {
            LABEL_COUNT_MAX as u64
        }
        // `map` and `filter` give no more than they went over.
        Expr::Comprehension(each) => range_count_max(&each.iter_range),
        _ => RANGE_COUNT_MAX,
    }
}

#[cfg(test)]
mod tests {
    use cel::Program;

    use super::*;

    fn steps(when: &str) -> u64 {
        step_count_max(Program::compile(when).unwrap().expression())
    }

    #[test]
    fn what_people_write_is_far_below_the_bound() {
        for when in [
            "file.media_type == 'text/csv' && file.key.startsWith('orders/')",
            "file.labels.exists(name, name == 'team')",
            "['csv', 'tsv', 'json'].exists(known, known == file.extension)",
            "file.labels.all(name, ['team', 'stage', 'owner'].exists(known, known == name))",
            "file.metadata.filter(name, name.startsWith('x-')).all(name, size(name) < 20)",
        ] {
            assert!(steps(when) < STEP_COUNT_MAX, "{when}: {}", steps(when));
        }
    }

    #[test]
    fn loops_in_loops_are_far_above_it() {
        let list = format!("[{}]", ["1"; 200].join(","));
        for when in [
            format!("{list}.all(a, {list}.all(b, a + b > 0))"),
            "file.labels.all(a, file.labels.all(b, file.labels.all(c, a + b != c)))".to_owned(),
            "file.key.split('').all(a, file.key.split('').all(b, a != b))".to_owned(),
            format!("{{'a': {list}.map(a, {list}.map(b, {list}.map(c, a)))}} == {{}}"),
        ] {
            assert!(steps(&when) > STEP_COUNT_MAX, "{when}: {}", steps(&when));
        }
    }
}
