//! Lanes in memory, an engine over them that answers as a claim asks, and a claim that is written down naively.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use usp_model::Timestamp;

use crate::claim::sweep::Sweep;
use crate::claim::{Answer, Ask, Claim, ClaimRuns, Lane, Look, LookAsk, Looks, Place, Served, Share, Turn};

pub(super) const NOW: i64 = 1_000;

/// A run that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    pub(super) id: usize,
    pub(super) priority: i32,
    pub(super) lane: Lane,
    pub(super) due_ms: i64,
    /// Dead on arrival: its rule is gone.
    pub(super) is_doomed: bool,
}

/// How an engine answers; it must make no difference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Style {
    /// One priority, and lane by lane up to the first rule that is not known to have more.
    OneByOne,
    /// Everything that one statement can find, whatever is known of rules.
    InBatches,
}

#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) waiting: Vec<Waiting>,
    pub(super) held: BTreeMap<String, u64>,
    /// Bounds that only a retired rule says.
    pub(super) retired: BTreeMap<String, u32>,
    /// Leases that are over.
    pub(super) expired: usize,
    /// Looks for a lane at each priority.
    pub(super) looks: BTreeMap<i32, usize>,
    /// What was asked, in order.
    pub(super) asks: Vec<Ask>,
}

pub(super) fn lane(rule: &str, bucket: i64) -> Lane {
    Lane { rule: rule.to_owned(), bucket }
}

pub(super) fn asked(count_max: u32, turn: Turn) -> ClaimRuns {
    let lease_until = Timestamp::from_unix_ms(NOW + 30_000);
    ClaimRuns { count_max, lease_until, bounds: Arc::default(), turn }
}

pub(super) fn bounded(bounds: &[(&str, Option<u32>)], asked: ClaimRuns) -> ClaimRuns {
    let bounds = bounds.iter().map(|(rule, bound)| ((*rule).to_owned(), *bound)).collect();
    ClaimRuns { bounds: Arc::new(bounds), ..asked }
}

impl World {
    /// Adds `count` runs that are due to a lane.
    pub(super) fn due(mut self, priority: i32, rule: &str, bucket: i64, count: usize) -> Self {
        (0..count).for_each(|_| self.add(priority, lane(rule, bucket), NOW));
        self
    }

    /// Adds a run to a lane that is due later.
    pub(super) fn later(mut self, priority: i32, rule: &str, bucket: i64) -> Self {
        self.add(priority, lane(rule, bucket), NOW + 1);
        self
    }

    pub(super) fn add(&mut self, priority: i32, lane: Lane, due_ms: i64) {
        let id = self.waiting.len();
        self.waiting.push(Waiting { id, priority, lane, due_ms, is_doomed: false });
    }

    pub(super) fn claim(&mut self, asked: &ClaimRuns) -> (Vec<usize>, Turn) {
        self.go(Claim::new(asked), Style::OneByOne)
    }

    /// Answers until the claim is done. Gives what was leased, in order.
    pub(super) fn go(&mut self, mut claim: Claim, style: Style) -> (Vec<usize>, Turn) {
        let mut leased = Vec::new();
        loop {
            let ask = claim.ask();
            self.asks.push(ask.clone());
            let answer = match ask {
                Ask::Done(turn) => return (leased, turn),
                Ask::Bounds { rules } => {
                    assert!(!rules.iter().any(|rule| claim.may_hold_more(rule)));
                    Answer::Bounds(rules.iter().map(|rule| self.retired.get(rule).copied()).collect())
                }
                Ask::Held { rules } => {
                    let held = |(rule, count_max): &(String, u32)| {
                        self.held.get(rule).copied().unwrap_or(0).min(u64::from(*count_max))
                    };
                    Answer::Held(rules.iter().map(held).collect())
                }
                Ask::Take(shares) => {
                    let take = |share: &Share| self.take(share, &mut leased);
                    Answer::Served(shares.iter().map(take).collect())
                }
                other => self.find(&other, style, |rule| claim.may_hold_more(rule)),
            };
            claim.answer(answer).unwrap();
        }
    }

    /// Answers until the sweep is done. Gives what was listed, in order.
    pub(super) fn sweep(&mut self, limit: u32, style: Style) -> Vec<usize> {
        let mut sweep = Sweep::new(limit);
        let mut listed = Vec::new();
        loop {
            let ask = sweep.ask();
            self.asks.push(ask.clone());
            let answer = match ask {
                Ask::Done(_) => return listed,
                Ask::Take(shares) => {
                    let list = |share: &Share| {
                        let due: Vec<_> = self.due_of(share);
                        listed.extend(&due);
                        Served { due: due.len(), leased: 0 }
                    };
                    Answer::Served(shares.iter().map(list).collect())
                }
                other => self.find(&other, style, |_rule| true),
            };
            sweep.answer(answer).unwrap();
        }
    }

    fn find(&mut self, ask: &Ask, style: Style, may_hold_more: impl Fn(&str) -> bool) -> Answer {
        match ask {
            Ask::Expired { count_max } => {
                let count = self.expired.min(*count_max as usize);
                self.expired -= count;
                Answer::Expired(count)
            }
            Ask::Priorities { below, count_max } => {
                let all: BTreeSet<i32> = self.waiting.iter().map(|run| run.priority).collect();
                let count = if style == Style::OneByOne { 1 } else { *count_max };
                let found = all.into_iter().rev().filter(|one| below.is_none_or(|below| *one < below));
                Answer::Priorities(found.take(count).collect())
            }
            Ask::Looks(asked) => Answer::Looks(self.look(asked, style, may_hold_more)),
            other => panic!("{other:?}"),
        }
    }

    fn look(&mut self, asked: &LookAsk, style: Style, may_hold_more: impl Fn(&str) -> bool) -> Looks {
        assert!(asked.look_count_max > 0 && asked.due_count_max > 0);
        let waiting = self.waiting.iter().filter(|run| run.priority == asked.priority);
        let lanes: BTreeSet<&Lane> = waiting.map(|run| &run.lane).collect();
        let mut found = lanes.into_iter().filter(|lane| match &asked.place {
            Place::Behind(seen) => *lane > seen,
            Place::At(at) => *lane >= at,
        });
        let mut looks = Looks::default();
        let mut due_count = 0;
        while looks.lanes.len() < asked.look_count_max {
            if style == Style::OneByOne && due_count == asked.due_count_max {
                break;
            }
            let Some(lane) =
                found.next().filter(|lane| asked.until.as_ref().is_none_or(|until| *lane <= until))
            else {
                looks.is_end = true;
                break;
            };
            if style == Style::OneByOne && !may_hold_more(&lane.rule) {
                looks.lanes.push(Look { lane: lane.clone(), is_due: None });
                break;
            }
            let is_due = self.waiting.iter().any(|run| run.is_due_in(asked.priority, lane));
            due_count += usize::from(is_due);
            looks.lanes.push(Look { lane: lane.clone(), is_due: Some(is_due) });
        }
        let count = looks.lanes.len() + usize::from(looks.is_end);
        *self.looks.entry(asked.priority).or_default() += count;
        looks
    }

    fn due_of(&self, share: &Share) -> Vec<usize> {
        assert!(share.count > 0, "{share:?}");
        let mut due: Vec<_> =
            self.waiting.iter().filter(|run| run.is_due_in(share.priority, &share.lane)).collect();
        due.sort_by_key(|run| (run.due_ms, run.id));
        due.iter().take(share.count).map(|run| run.id).collect()
    }

    fn take(&mut self, share: &Share, leased: &mut Vec<usize>) -> Served {
        let due = self.due_of(share);
        let before = leased.len();
        for id in &due {
            let place = self.waiting.iter().position(|run| run.id == *id).unwrap();
            let run = self.waiting.remove(place);
            if !run.is_doomed {
                leased.push(run.id);
                *self.held.entry(run.lane.rule).or_default() += 1;
            }
        }
        Served { due: due.len(), leased: leased.len() - before }
    }

    /// A claim as one would write it down without a thought for its cost, in a world that is within all bounds.
    pub(super) fn naive_claim(&mut self, asked: &ClaimRuns) -> (Vec<usize>, Turn) {
        let (mut leased, mut turn) = (Vec::new(), asked.turn.clone());
        let wanted = |leased: &Vec<usize>| asked.count_max as usize - leased.len();
        let priorities: BTreeSet<i32> = self.waiting.iter().map(|run| run.priority).collect();
        for priority in priorities.into_iter().rev() {
            let due = self.waiting.iter().filter(|run| run.is_due_in(priority, &run.lane));
            let mut lanes: Vec<Lane> =
                due.map(|run| run.lane.clone()).collect::<BTreeSet<_>>().into_iter().collect();
            let last = turn.last(priority).map(|(rule, bucket)| lane(rule, bucket));
            let served_first = lanes.iter().take_while(|lane| Some(*lane) <= last.as_ref()).count();
            lanes.rotate_left(served_first);
            lanes.retain(|lane| self.free(asked, &lane.rule) > 0);
            while wanted(&leased) > 0 && !lanes.is_empty() {
                let share = (wanted(&leased) / lanes.len()).max(1);
                lanes.retain(|lane| {
                    let count = share.min(wanted(&leased)).min(self.free(asked, &lane.rule));
                    if count == 0 {
                        return false;
                    }
                    let share_of = Share { priority, lane: lane.clone(), count };
                    let served = self.take(&share_of, &mut leased);
                    if served.due > 0 {
                        turn.served(priority, &lane.rule, lane.bucket);
                    }
                    served.due == share
                });
            }
        }
        turn.keep_highest();
        (leased, turn)
    }

    fn free(&self, asked: &ClaimRuns, rule: &str) -> usize {
        let bound = match asked.bounds.get(rule) {
            Some(bound) => *bound,
            None => self.retired.get(rule).copied(),
        };
        let held = self.held.get(rule).copied().unwrap_or(0);
        bound.map_or(usize::MAX, |bound| usize::try_from(u64::from(bound).saturating_sub(held)).unwrap())
    }

    /// A sweep as one would write it down, in a world that is within all bounds.
    pub(super) fn naive_sweep(&self, limit: usize) -> Vec<usize> {
        let due = self.waiting.iter().filter(|run| run.is_due_in(run.priority, &run.lane));
        let mut lanes: Vec<(i32, Lane)> = due.map(|run| (run.priority, run.lane.clone())).collect();
        lanes.sort_by(|(one, a), (other, b)| other.cmp(one).then(a.cmp(b)));
        lanes.dedup();
        let share = limit.div_ceil(lanes.len().max(1));
        let limit = limit.saturating_sub(self.expired);
        let mut listed = Vec::new();
        for (priority, lane) in lanes {
            let count = share.min(limit - listed.len());
            if count > 0 {
                listed.extend(self.due_of(&Share { priority, lane, count }));
            }
        }
        listed
    }
}

impl Waiting {
    fn is_due_in(&self, priority: i32, lane: &Lane) -> bool {
        self.priority == priority && self.lane == *lane && self.due_ms <= NOW
    }
}
