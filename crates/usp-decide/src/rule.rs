//! Rules: which version one gets, and what its writing, erasing and retiring come to.
//!
//! Every version of a rule is kept, so that a run finds the one it began with. Those in force are the newest of each name
//! that is not retired. What was written over the API is kept apart from that, as it was written.

use usp_model::{Rule, RuleName};

/// What becomes of a rule that someone wrote and now deletes.
#[derive(Debug, Clone, PartialEq)]
pub enum Erase {
    /// Nobody wrote one of the name: nothing changes.
    NotWritten,
    /// The written text goes and the name is retired. Then this one, if any, is put in its place.
    Retire { instead: Option<Rule> },
}

/// The rule as it is kept, in force and no longer retired: versions count from 1, whatever the text said. Equal meaning
/// keeps the number of the newest, other meaning gets the next.
pub fn numbered(newest: Option<&Rule>, rule: Rule) -> Rule {
    let version = match newest {
        Some(newest) if has_same_meaning(newest, &rule) => newest.version,
        Some(newest) => newest.version.saturating_add(1),
        None => 1,
    };
    Rule { version, ..rule }
}

/// The description explains a rule and changes nothing.
fn has_same_meaning(old: &Rule, new: &Rule) -> bool {
    let bare = |rule: &Rule| Rule { version: 1, description: String::new(), ..rule.clone() };
    bare(old) == bare(new)
}

/// Whether a rule as it is kept matches files and is listed: the newest version of its name, unless the name is retired.
pub fn is_in_force(is_newest: bool, is_retired: bool) -> bool {
    is_newest && !is_retired
}

/// What deleting a written rule comes to. `newest` is the newest version of the name of `instead`.
pub fn erase(is_written: bool, newest: Option<&Rule>, instead: Option<Rule>) -> Erase {
    match is_written {
        true => Erase::Retire { instead: instead.map(|instead| numbered(newest, instead)) },
        false => Erase::NotWritten,
    }
}

/// Rules in force that are retired when those of `keep` alone are to be. Runs still point at them, so they are not deleted.
pub fn retired<'a>(in_force: &'a [RuleName], keep: &[RuleName]) -> Vec<&'a RuleName> {
    in_force.iter().filter(|name| !keep.contains(name)).collect()
}

/// The bound of a rule that counts no more, for its runs that still wait: that of its newest version.
pub fn bound_of_retired(newest: Option<&Rule>) -> Option<u32> {
    newest.and_then(|rule| rule.concurrency)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use usp_model::{Release, RetryPolicy, RuleStep};

    use super::*;

    fn rule(version: u32) -> Rule {
        let step =
            RuleStep { name: "s".to_owned(), uses: "sniff".to_owned(), with: BTreeMap::new(), timeout_s: 60 };
        Rule {
            name: name("r"),
            description: "as it was".to_owned(),
            version,
            when: "true".to_owned(),
            steps: vec![step],
            retry: RetryPolicy::default(),
            timeout_s: 60,
            priority: 0,
            concurrency: None,
            release: None,
            required: true,
        }
    }

    fn name(text: &str) -> RuleName {
        RuleName::parse(text).unwrap()
    }

    #[test]
    fn the_first_version_is_1_whatever_the_text_said() {
        assert_eq!(numbered(None, rule(9)), rule(1));
    }

    #[test]
    fn equal_meaning_keeps_its_number_and_other_meaning_gets_the_next() {
        let other = |change: fn(&mut Rule)| {
            let mut rule = rule(1);
            change(&mut rule);
            rule
        };
        let cases = [
            ("nothing", rule(1), 4),
            ("the number in the text", rule(9), 4),
            ("the description", other(|rule| rule.description.clear()), 4),
            ("the condition", other(|rule| rule.when.clear()), 5),
            ("the steps", other(|rule| rule.steps.clear()), 5),
            ("a parameter", other(|rule| rule.steps[0].timeout_s = 61), 5),
            ("the retries", other(|rule| rule.retry.attempts_max = 6), 5),
            ("the time", other(|rule| rule.timeout_s = 61), 5),
            ("the priority", other(|rule| rule.priority = 1), 5),
            ("the bound", other(|rule| rule.concurrency = Some(1)), 5),
            ("the release", other(|rule| rule.release = Some(Release::AfterSuccess)), 5),
            ("whether it must succeed", other(|rule| rule.required = false), 5),
        ];
        for (what, new, version) in cases {
            let kept = numbered(Some(&rule(4)), new.clone());
            assert_eq!(kept, Rule { version, ..new }, "{what} differs");
        }
    }

    #[test]
    fn the_newest_of_a_name_that_is_not_retired_is_in_force() {
        for (is_newest, is_retired, expected) in
            [(true, false, true), (true, true, false), (false, false, false), (false, true, false)]
        {
            assert_eq!(is_in_force(is_newest, is_retired), expected, "{is_newest} {is_retired}");
        }
    }

    #[test]
    fn what_nobody_wrote_is_not_erased() {
        assert_eq!(erase(false, Some(&rule(2)), Some(rule(1))), Erase::NotWritten);
    }

    #[test]
    fn what_stands_in_for_an_erased_rule_gets_a_number_as_any_other() {
        let stricter = Rule { required: false, ..rule(1) };
        let cases = [(None, None), (Some(rule(1)), Some(2)), (Some(stricter), Some(3))];
        for (instead, version) in cases {
            let expected = instead.clone().zip(version).map(|(instead, version)| Rule { version, ..instead });
            assert_eq!(erase(true, Some(&rule(2)), instead), Erase::Retire { instead: expected });
        }
    }

    #[test]
    fn rules_that_are_not_kept_are_retired() {
        let in_force = [name("a"), name("b"), name("c")];
        let cases: [(&[&str], &[&str]); 4] = [
            (&[], &["a", "b", "c"]),
            (&["a", "b", "c"], &[]),
            (&["b"], &["a", "c"]),
            (&["c", "x"], &["a", "b"]),
        ];
        for (keep, expected) in cases {
            let keep: Vec<_> = keep.iter().map(|text| name(text)).collect();
            let found: Vec<_> = retired(&in_force, &keep).into_iter().map(RuleName::as_str).collect();
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_rule_that_counts_no_more_keeps_its_bound() {
        assert_eq!(bound_of_retired(None), None);
        assert_eq!(bound_of_retired(Some(&rule(1))), None);
        assert_eq!(bound_of_retired(Some(&Rule { concurrency: Some(3), ..rule(1) })), Some(3));
    }
}
