//! What the sweeper looks for: runs that wait and become due by some time, some of each lane, and those whose lease is over
//! by then. It asks the same questions as a claim, takes nothing, and is bounded by no rule.

use usp_model::Result;

use super::share::Round;
use super::walk::{Budget, Step, Walk};
use super::{Answer, Ask, LANE_COUNT_MAX, Lane, Priorities, Served, Share, Turn, check_count, unasked};

/// Lanes that one sweep goes through; it holds up nobody.
pub const LOOK_COUNT_MAX: usize = 65_536;

/// One look of the sweeper. `Ask::Expired` and `Ask::Take` are about runs that are listed, not changed.
#[derive(Debug)]
pub struct Sweep {
    limit: u32,
    /// Runs that may still be listed.
    left: usize,
    budget: Budget,
    priorities: Priorities,
    lanes: Vec<(i32, Lane)>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Expired,
    Priorities,
    Walk(Walk, i32),
    Take(Round, Vec<Share>),
    Done,
}

impl Sweep {
    /// Begins a sweep for `limit` runs at most.
    pub fn new(limit: u32) -> Self {
        Self {
            limit,
            left: count(limit),
            budget: Budget { lanes_left: LANE_COUNT_MAX, looks_left: LOOK_COUNT_MAX },
            priorities: Priorities::default(),
            lanes: Vec::new(),
            stage: Stage::Expired,
        }
    }

    /// What is to be answered next; the same until it is.
    pub fn ask(&self) -> Ask {
        match &self.stage {
            Stage::Expired => Ask::Expired { count_max: self.limit },
            Stage::Priorities => self.priorities.ask(),
            Stage::Walk(walk, _priority) => Ask::Looks(walk.ask(self.budget)),
            Stage::Take(_round, shares) => Ask::Take(shares.clone()),
            Stage::Done => Ask::Done(Turn::default()),
        }
    }

    /// Goes on with the answer to what was asked. Errors: `Internal` for an answer to something else.
    pub fn answer(&mut self, answer: Answer) -> Result<()> {
        let stage = std::mem::replace(&mut self.stage, Stage::Done);
        self.stage = match (stage, answer) {
            (Stage::Expired, Answer::Expired(count)) => {
                self.left = self.left.saturating_sub(count);
                self.next_priority()
            }
            (Stage::Priorities, Answer::Priorities(found)) => match self.priorities.found(found) {
                true => self.next_priority(),
                false => self.list(),
            },
            (Stage::Walk(mut walk, priority), Answer::Looks(looks)) => {
                match walk.take(looks, &mut self.budget, |_rule| Some(usize::MAX)) {
                    Step::GoOn | Step::Unknown(_) => Stage::Walk(walk, priority),
                    Step::Over => {
                        let lanes = walk.end(&mut self.budget).lanes;
                        self.lanes.extend(lanes.into_iter().map(|lane| (priority, lane)));
                        self.next_priority()
                    }
                }
            }
            (Stage::Take(round, shares), Answer::Served(served)) => self.listed(round, &shares, &served)?,
            (stage, answer) => return Err(unasked(&stage, &answer)),
        };
        Ok(())
    }

    fn next_priority(&mut self) -> Stage {
        if self.budget.is_spent() {
            return self.list();
        }
        match self.priorities.next() {
            Some(priority) => Stage::Walk(Walk::around(priority, None, &mut self.budget), priority),
            None => Stage::Priorities,
        }
    }

    /// An equal share of each lane, those of the highest priority first.
    fn list(&mut self) -> Stage {
        let lanes = std::mem::take(&mut self.lanes);
        let share = count(self.limit).div_ceil(lanes.len().max(1));
        self.next_shares(Round::once(lanes, share))
    }

    fn next_shares(&self, mut round: Round) -> Stage {
        match round.next_shares(self.left, |_rule| usize::MAX) {
            Some(shares) => Stage::Take(round, shares),
            None => Stage::Done,
        }
    }

    fn listed(&mut self, round: Round, shares: &[Share], served: &[Served]) -> Result<Stage> {
        check_count(shares.len(), served.len())?;
        let due: usize = served.iter().map(|came| came.due).sum();
        self.left = self.left.saturating_sub(due);
        Ok(self.next_shares(round))
    }
}

fn count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
