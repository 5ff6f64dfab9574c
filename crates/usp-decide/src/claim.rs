//! Whose turn it is: due runs by priority, and among equals every rule and every bucket in turn.
//!
//! Runs that wait stand in lanes: one for each priority, rule and bucket. A claim
//!
//! 1. takes back the runs whose lease is over (the attempt counts; the last one kills the run),
//! 2. goes through the lanes of the highest priority, beginning behind the one that was served last, and takes an equal
//!    share from each, then through the lanes of the next priority,
//! 3. passes over rules that hold as many runs as they may.
//!
//! [`Claim`] decides this and touches nothing: it asks ([`Claim::ask`]) and is answered ([`Claim::answer`]) until it is
//! done. An engine in the process answers with seeks; one on which each question is a round trip answers many looks,
//! priorities or shares with one statement, since each ask says how much of it can be used. Who is served is the same for
//! both.
//!
//! The cost of a claim grows with the lanes that are looked at, which are bounded. A priority takes half of the looks that
//! are left, so that lanes in which nothing is due yet hold up neither those behind them nor the priorities below.
//! [`sweep::Sweep`] goes the same way for the sweeper, which holds nothing.

mod share;
pub mod sweep;
mod walk;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use usp_model::{Error, ErrorKind, LeasedRun, Result, Timestamp};

use share::Round;
use walk::{Budget, Step, Walk};
pub use walk::{Look, LookAsk, Looks, Place};

/// Lanes that one claim serves. What lies behind them is the next claim's: it begins where this one ended.
pub const LANE_COUNT_MAX: usize = 512;
/// Lanes that one claim looks at, for the few that have a run which is due: a few milliseconds of a writer.
pub const LOOK_COUNT_MAX: usize = 4_096;
/// Leases that one claim takes back.
pub const EXPIRED_COUNT_MAX: u32 = 256;
/// Priorities that one ask can use at once. Most claims find enough at the first.
pub const PRIORITY_COUNT_MAX: usize = 16;

/// A worker's wish for due runs.
#[derive(Debug, Clone)]
pub struct ClaimRuns {
    /// Runs that the worker has slots for.
    pub count_max: u32,
    /// Until when the runs are held unless they are reported on.
    pub lease_until: Timestamp,
    /// How many runs of a rule may be held at once, for rules that say so, by name.
    pub bounds: Arc<BTreeMap<String, Option<u32>>>,
    /// As the claim before gave it.
    pub turn: Turn,
}

/// What a claim took, and where the next one goes on.
#[derive(Debug, Clone)]
pub struct ClaimedRuns {
    pub runs: Vec<LeasedRun>,
    pub turn: Turn,
}

/// The rule and bucket that were served last, at each priority. The default begins at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Turn(BTreeMap<i32, (String, i64)>);

impl Turn {
    /// Priorities that are remembered; at others the turn begins anew.
    const PRIORITY_COUNT_MAX: usize = 64;

    /// Rule and bucket that were served last at a priority.
    pub fn last(&self, priority: i32) -> Option<(&str, i64)> {
        self.0.get(&priority).map(|(rule, bucket)| (rule.as_str(), *bucket))
    }

    /// The next claim begins behind this lane.
    pub fn served(&mut self, priority: i32, rule: &str, bucket: i64) {
        self.0.insert(priority, (rule.to_owned(), bucket));
    }

    /// Forgets the lowest priorities beyond the bound.
    pub fn keep_highest(&mut self) {
        while self.0.len() > Self::PRIORITY_COUNT_MAX {
            self.0.pop_first();
        }
    }
}

/// Waiting runs of one rule in one bucket, at one priority. `bucket` is the number that the engine knows it by, from 1.
/// Ordered as they are gone through: by rule, byte for byte, then by bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lane {
    pub rule: String,
    pub bucket: i64,
}

impl Lane {
    /// Before all lanes.
    fn before_all() -> Self {
        Self { rule: String::new(), bucket: 0 }
    }

    /// Behind all buckets of the rule.
    fn behind_rule(rule: &str) -> Self {
        Self { rule: rule.to_owned(), bucket: i64::MAX }
    }
}

/// Up to `count` due runs of one lane, those that are due the longest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub priority: i32,
    pub lane: Lane,
    pub count: usize,
}

/// What a share came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Served {
    /// Runs that were found, dead on arrival or not.
    pub due: usize,
    /// Those of them that are held now. A sweep holds none and does not read this.
    pub leased: usize,
}

/// What must be known, or done, before it is decided further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Runs whose lease is over, at most so many: a claim ends their leases
    /// ([`RunRecord::end_lease`](crate::run::RunRecord::end_lease)), a sweep takes them along. Answered by `Expired`.
    Expired { count_max: u32 },
    /// The highest priorities at which runs wait, below the given one, highest first. Answered by `Priorities`: fewer than
    /// `count_max` will do, none means that there are none.
    Priorities { below: Option<i32>, count_max: usize },
    /// Lanes in order. Answered by `Looks`.
    Looks(LookAsk),
    /// The bounds of rules that count no more but have runs that wait; each rule once. Answered by `Bounds`.
    Bounds { rules: Vec<String> },
    /// How many runs of each rule are held; counted no further than the number beside it. Answered by `Held`.
    Held { rules: Vec<(String, u32)> },
    /// Runs to be taken, each share independent of what comes of the others. Answered by `Served`.
    Take(Vec<Share>),
    /// Nothing more. Of a claim: where the next one goes on.
    Done(Turn),
}

/// What an engine says to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// How many were taken back or along.
    Expired(usize),
    Priorities(Vec<i32>),
    Looks(Looks),
    /// One for each rule, in order.
    Bounds(Vec<Option<u32>>),
    /// One for each rule, in order.
    Held(Vec<u64>),
    /// One for each share, in order.
    Served(Vec<Served>),
}

/// One claim. It asks and is answered until it is [`Done`](Ask::Done).
#[derive(Debug)]
pub struct Claim {
    /// Runs that may still be taken.
    wanted: usize,
    bounds: Arc<BTreeMap<String, Option<u32>>>,
    turn: Turn,
    free: FreeByRule,
    budget: Budget,
    priorities: Priorities,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Expired,
    Priorities,
    Walk(Walk),
    /// The walk came to rules whose bounds are not known; with what was found from there on.
    Bounds(Walk, Vec<String>, Looks),
    /// The walk came to rules that may hold so many runs each; with what was found from there on.
    Held(Walk, Vec<(String, u32)>, Looks),
    Take(Round, Vec<Share>),
    Done,
}

/// How many more runs of each rule may be held, as far as it is known. `None`: any number.
#[derive(Debug, Default)]
struct FreeByRule(HashMap<String, Option<usize>>);

impl FreeByRule {
    fn of(&self, rule: &str, bounds: &BTreeMap<String, Option<u32>>) -> Option<usize> {
        let is_unbounded = matches!(bounds.get(rule), Some(None));
        let free = if is_unbounded { Some(&None) } else { self.0.get(rule) };
        free.map(|free| free.unwrap_or(usize::MAX))
    }

    fn take(&mut self, rule: &str, count: usize) {
        if let Some(Some(free)) = self.0.get_mut(rule) {
            *free = free.saturating_sub(count);
        }
    }
}

impl Claim {
    /// Begins a claim.
    pub fn new(asked: &ClaimRuns) -> Self {
        Self::with_looks(asked, LOOK_COUNT_MAX)
    }

    fn with_looks(asked: &ClaimRuns, look_count_max: usize) -> Self {
        Self {
            wanted: usize::try_from(asked.count_max).unwrap_or(usize::MAX),
            bounds: Arc::clone(&asked.bounds),
            turn: asked.turn.clone(),
            free: FreeByRule::default(),
            budget: Budget { lanes_left: LANE_COUNT_MAX, looks_left: look_count_max },
            priorities: Priorities::default(),
            stage: Stage::Expired,
        }
    }

    /// What is to be answered next; the same until it is.
    pub fn ask(&self) -> Ask {
        match &self.stage {
            Stage::Expired => Ask::Expired { count_max: EXPIRED_COUNT_MAX },
            Stage::Priorities => self.priorities.ask(),
            Stage::Walk(walk) => Ask::Looks(walk.ask(self.budget)),
            Stage::Bounds(_walk, rules, _rest) => Ask::Bounds { rules: rules.clone() },
            Stage::Held(_walk, rules, _rest) => Ask::Held { rules: rules.clone() },
            Stage::Take(_round, shares) => Ask::Take(shares.clone()),
            Stage::Done => Ask::Done(self.turn.clone()),
        }
    }

    /// Whether runs of the rule may be taken, as far as it is known. An engine that looks lane by lane stops at the first
    /// rule of which this is not said.
    pub fn may_hold_more(&self, rule: &str) -> bool {
        self.free.of(rule, &self.bounds).is_some_and(|free| free > 0)
    }

    /// Goes on with the answer to what was asked. Errors: `Internal` for an answer to something else.
    pub fn answer(&mut self, answer: Answer) -> Result<()> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match (stage, answer) {
            (Stage::Expired, Answer::Expired(_count)) => self.next_priority(),
            (Stage::Priorities, Answer::Priorities(found)) => match self.priorities.found(found) {
                true => self.next_priority(),
                false => Stage::Done,
            },
            (Stage::Walk(walk), Answer::Looks(looks)) => self.looked(walk, looks),
            (Stage::Bounds(walk, rules, rest), Answer::Bounds(bounds)) => {
                check_count(rules.len(), bounds.len())?;
                self.bounded(walk, &rules.into_iter().zip(bounds).collect(), rest)
            }
            (Stage::Held(walk, rules, rest), Answer::Held(held)) => {
                check_count(rules.len(), held.len())?;
                for ((rule, bound), held) in rules.into_iter().zip(held) {
                    let free = usize::try_from(u64::from(bound).saturating_sub(held)).unwrap_or(usize::MAX);
                    self.free.0.insert(rule, Some(free));
                }
                self.looked(walk, rest)
            }
            (Stage::Take(round, shares), Answer::Served(served)) => self.served(round, &shares, &served)?,
            (stage, answer) => return Err(unasked(&stage, &answer)),
        };
        if matches!(self.stage, Stage::Done) {
            self.turn.keep_highest();
        }
        Ok(())
    }

    fn next_priority(&mut self) -> Stage {
        if self.wanted == 0 || self.budget.is_spent() {
            return Stage::Done;
        }
        let Some(priority) = self.priorities.next() else { return Stage::Priorities };
        let last = self.turn.last(priority);
        let last = last.map(|(rule, bucket)| Lane { rule: rule.to_owned(), bucket });
        Stage::Walk(Walk::around(priority, last, &mut self.budget))
    }

    fn looked(&mut self, mut walk: Walk, looks: Looks) -> Stage {
        let (free, bounds) = (&self.free, &self.bounds);
        match walk.take(looks, &mut self.budget, |rule| free.of(rule, bounds)) {
            Step::GoOn => Stage::Walk(walk),
            Step::Unknown(rest) => self.asking(walk, rest),
            Step::Over => {
                let ended = walk.end(&mut self.budget);
                if let Some(seen) = ended.cut_at {
                    self.turn.served(ended.priority, &seen.rule, seen.bucket);
                }
                self.serve(Round::in_turn(ended.priority, ended.lanes))
            }
        }
    }

    /// What must be known of the rules of these: first the bounds that nobody said, then how much of each is held.
    fn asking(&mut self, walk: Walk, rest: Looks) -> Stage {
        let mut unsaid = self.unknown(&rest);
        unsaid.retain(|rule| !self.bounds.contains_key(rule));
        match unsaid.is_empty() {
            true => self.bounded(walk, &BTreeMap::new(), rest),
            false => Stage::Bounds(walk, unsaid.into_iter().collect(), rest),
        }
    }

    /// Rules of these of which it is not known how many runs may be taken.
    fn unknown(&self, looks: &Looks) -> BTreeSet<String> {
        let rules = looks.lanes.iter().map(|look| &look.lane.rule);
        rules.filter(|rule| self.free.of(rule, &self.bounds).is_none()).cloned().collect()
    }

    /// Every rule of these has a bound, or none: `said` has those that only a retired rule says.
    fn bounded(&mut self, walk: Walk, said: &BTreeMap<String, Option<u32>>, rest: Looks) -> Stage {
        let mut rules = Vec::new();
        for rule in self.unknown(&rest) {
            match self.bounds.get(&rule).or_else(|| said.get(&rule)).copied().flatten() {
                Some(bound) => rules.push((rule, bound)),
                None => drop(self.free.0.insert(rule, None)),
            }
        }
        match rules.is_empty() {
            true => self.looked(walk, rest),
            false => Stage::Held(walk, rules, rest),
        }
    }

    fn serve(&mut self, mut round: Round) -> Stage {
        match round.next_shares(self.wanted, |rule| self.free.of(rule, &self.bounds).unwrap_or(0)) {
            Some(shares) => Stage::Take(round, shares),
            None => self.next_priority(),
        }
    }

    fn served(&mut self, mut round: Round, shares: &[Share], served: &[Served]) -> Result<Stage> {
        check_count(shares.len(), served.len())?;
        for (Share { priority, lane, .. }, came) in shares.iter().zip(served) {
            self.wanted = self.wanted.saturating_sub(came.leased);
            self.free.take(&lane.rule, came.leased);
            if came.due > 0 {
                self.turn.served(*priority, &lane.rule, lane.bucket);
            }
        }
        round.took(shares, served);
        Ok(self.serve(round))
    }
}

/// Priorities at which runs wait, from the highest down.
#[derive(Debug, Default)]
struct Priorities {
    /// Found and not gone through.
    found: VecDeque<i32>,
    /// The last one that was found.
    below: Option<i32>,
}

impl Priorities {
    fn ask(&self) -> Ask {
        Ask::Priorities { below: self.below, count_max: PRIORITY_COUNT_MAX }
    }

    fn next(&mut self) -> Option<i32> {
        self.found.pop_front()
    }

    /// False: there are no more. What is not below the last one would be gone through twice, and is left out.
    fn found(&mut self, found: Vec<i32>) -> bool {
        for priority in found {
            if self.below.is_none_or(|below| priority < below) {
                self.below = Some(priority);
                self.found.push_back(priority);
            }
        }
        !self.found.is_empty()
    }
}

const ACTION: &str = "claim runs";

fn check_count(asked: usize, answered: usize) -> Result<()> {
    if asked == answered {
        return Ok(());
    }
    let reason = format!("there are {answered} answers to {asked} questions");
    Err(Error::new(ErrorKind::Internal, ACTION).because(reason))
}

fn unasked(stage: &dyn std::fmt::Debug, answer: &Answer) -> Error {
    Error::new(ErrorKind::Internal, ACTION).because(format!("nobody asked for {answer:?} at {stage:?}"))
}

#[cfg(test)]
mod tests;
