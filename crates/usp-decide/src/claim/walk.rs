//! The way through the lanes of one priority.

use super::Lane;

/// Looks that one answer holds. An engine in the process loses nothing by the bound, and the memory of one is bounded.
pub(super) const LOOK_BATCH_MAX: usize = 256;

/// Where to look for the next lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The first lane behind this one.
    Behind(Lane),
    /// This lane, which was found, but not looked into; then those behind it.
    At(Lane),
}

impl Place {
    fn lane(&self) -> &Lane {
        match self {
            Self::Behind(lane) | Self::At(lane) => lane,
        }
    }

    fn is_before(&self, lane: &Lane) -> bool {
        match self {
            Self::Behind(seen) => seen < lane,
            Self::At(found) => found <= lane,
        }
    }
}

/// Lanes of one priority in which runs wait, in the order of [`Lane`].
///
/// Shape: an answer may be shorter than it could be; without a lane that was not said before it is taken for the end. An
/// engine that looks lane by lane stops behind `due_count_max` lanes with a run that is due, and at the first lane of a rule
/// that may not hold more, as far as is known ([`Claim::may_hold_more`](super::Claim::may_hold_more)): it says the lane, and
/// not whether a run in it is due. Lanes that are said beyond that save a question, or are not used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookAsk {
    pub priority: i32,
    pub place: Place,
    /// No lanes behind this one. `None`: all that there are.
    pub until: Option<Lane>,
    /// Looks for a lane, the one that finds none included.
    pub look_count_max: usize,
    /// Lanes with a run that is due.
    pub due_count_max: usize,
}

/// Lanes as an engine found them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looks {
    pub lanes: Vec<Look>,
    /// There is no lane behind these, or none up to `until`.
    pub is_end: bool,
}

/// One lane in which runs wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    pub lane: Lane,
    /// Whether one of them is due. `None`: that was not looked for.
    pub is_due: Option<bool>,
}

/// What is left of the work that one claim or sweep may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) lanes_left: usize,
    pub(super) looks_left: usize,
}

impl Budget {
    pub(super) fn is_spent(self) -> bool {
        self.lanes_left == 0 || self.looks_left == 0
    }
}

/// What comes behind an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    GoOn,
    /// How many runs of the rule of the first of these may be taken must be known before they are gone through.
    Unknown(Looks),
    Over,
}

/// A walk that came to its end, or to that of its looks.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) priority: i32,
    /// Lanes with a run that is due, of rules that may hold more, in the order of the walk.
    pub(super) lanes: Vec<Lane>,
    /// Where it was when its looks were used up.
    pub(super) cut_at: Option<Lane>,
}

/// A walk through the lanes of one priority, with half of the looks that are left.
#[derive(Debug)]
pub(super) struct Walk {
    priority: i32,
    place: Place,
    until: Option<Lane>,
    /// Where it began, if there are lanes up to there that it comes to last.
    wraps_to: Option<Lane>,
    due: Vec<Lane>,
    /// Looks that are kept for other priorities.
    looks_kept: usize,
}

impl Walk {
    /// From the lane behind the last served around to it.
    pub(super) fn around(priority: i32, last: Option<Lane>, budget: &mut Budget) -> Self {
        let looks_kept = budget.looks_left / 2;
        budget.looks_left -= looks_kept;
        let place = Place::Behind(last.clone().unwrap_or_else(Lane::before_all));
        Self { priority, place, until: None, wraps_to: last, due: Vec::new(), looks_kept }
    }

    pub(super) fn ask(&self, budget: Budget) -> LookAsk {
        LookAsk {
            priority: self.priority,
            place: self.place.clone(),
            until: self.until.clone(),
            look_count_max: budget.looks_left.min(LOOK_BATCH_MAX),
            due_count_max: budget.lanes_left,
        }
    }

    /// Goes through what was found, in order, as far as it can be used. `free` says how many runs of a rule may be taken.
    pub(super) fn take(
        &mut self,
        looks: Looks,
        budget: &mut Budget,
        free: impl Fn(&str) -> Option<usize>,
    ) -> Step {
        let mut lanes = looks.lanes.into_iter();
        let mut went_on = false;
        while let Some(Look { lane, is_due }) = lanes.next() {
            if budget.is_spent() {
                return Step::Over;
            }
            if !self.place.is_before(&lane) {
                // A bucket of a rule that was passed over.
                continue;
            }
            if self.until.as_ref().is_some_and(|until| lane > *until) {
                return self.come_to_end(budget);
            }
            let Some(free) = free(&lane.rule) else {
                let lanes = std::iter::once(Look { lane, is_due }).chain(lanes).collect();
                return Step::Unknown(Looks { lanes, is_end: looks.is_end });
            };
            if free > 0 && is_due.is_none() && !matches!(self.place, Place::At(_)) {
                self.place = Place::At(lane);
                return Step::GoOn;
            }
            went_on = true;
            budget.looks_left -= 1;
            if free == 0 {
                // All buckets of the rule at once.
                self.place = Place::Behind(Lane::behind_rule(&lane.rule));
                continue;
            }
            self.place = Place::Behind(lane.clone());
            if is_due == Some(true) {
                budget.lanes_left -= 1;
                self.due.push(lane);
            }
        }
        match looks.is_end || !went_on {
            true => self.come_to_end(budget),
            false if budget.is_spent() => Step::Over,
            false => Step::GoOn,
        }
    }

    /// There is nothing behind: the walk goes on at the beginning, up to where it began.
    fn come_to_end(&mut self, budget: &mut Budget) -> Step {
        budget.looks_left = budget.looks_left.saturating_sub(1);
        match self.wraps_to.take() {
            Some(last) if !budget.is_spent() => {
                self.place = Place::Behind(Lane::before_all());
                self.until = Some(last);
                Step::GoOn
            }
            _ => Step::Over,
        }
    }

    /// Gives the looks back that were not used.
    pub(super) fn end(self, budget: &mut Budget) -> Ended {
        let cut_at = (budget.looks_left == 0).then(|| self.place.lane().clone());
        budget.looks_left += self.looks_kept;
        Ended { priority: self.priority, lanes: self.due, cut_at }
    }
}
