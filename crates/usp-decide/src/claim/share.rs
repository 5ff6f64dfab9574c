//! How many runs are taken from each lane.

use std::collections::{BTreeMap, VecDeque};

use super::{Lane, Served, Share};

/// Lanes that are served in turn: equal shares first, then one each, until enough is taken or no lane has more, so that the
/// turn ends behind a lane that got as much as any other.
#[derive(Debug)]
pub(super) struct Round {
    /// Not served in this round yet.
    lanes: VecDeque<(i32, Lane)>,
    /// Served in this round, and there may be more in them.
    with_more: Vec<(i32, Lane)>,
    share: usize,
    goes_around: bool,
}

impl Round {
    /// Shares follow from what is wanted; lanes that gave all of theirs are served again.
    pub(super) fn in_turn(priority: i32, lanes: Vec<Lane>) -> Self {
        let with_more = lanes.into_iter().map(|lane| (priority, lane)).collect();
        Self { lanes: VecDeque::new(), with_more, share: 1, goes_around: true }
    }

    /// Each lane is served once, with this share.
    pub(super) fn once(lanes: Vec<(i32, Lane)>, share: usize) -> Self {
        Self { lanes: lanes.into(), with_more: Vec::new(), share, goes_around: false }
    }

    /// The next shares of lanes whose sizes depend on nothing that comes of the others among them. `None`: all is taken.
    /// `free` says how many runs of a rule may be taken.
    pub(super) fn next_shares(&mut self, wanted: usize, free: impl Fn(&str) -> usize) -> Option<Vec<Share>> {
        if wanted == 0 {
            return None;
        }
        loop {
            if self.lanes.is_empty() {
                self.lanes = std::mem::take(&mut self.with_more).into();
                self.share = wanted.checked_div(self.lanes.len())?.max(1);
            }
            let shares = self.sure_shares(wanted, &free);
            if !shares.is_empty() {
                return Some(shares);
            }
        }
    }

    /// Takes lanes as long as the share of the next one is the same whether those before it yield all or nothing.
    fn sure_shares(&mut self, wanted: usize, free: &impl Fn(&str) -> usize) -> Vec<Share> {
        let mut shares: Vec<Share> = Vec::new();
        let mut taken = 0;
        let mut taken_by_rule: BTreeMap<String, usize> = BTreeMap::new();
        while let Some((priority, lane)) = self.lanes.pop_front() {
            let of_rule = taken_by_rule.get(&lane.rule).copied().unwrap_or(0);
            let most = self.share.min(wanted).min(free(&lane.rule));
            let least = most.min(wanted.saturating_sub(taken)).min(free(&lane.rule).saturating_sub(of_rule));
            if least < most {
                self.lanes.push_front((priority, lane));
                break;
            }
            if most > 0 {
                taken += most;
                taken_by_rule.insert(lane.rule.clone(), of_rule + most);
                shares.push(Share { priority, lane, count: most });
            }
        }
        shares
    }

    /// What came of shares: a lane that gave all of a whole share may have more.
    pub(super) fn took(&mut self, shares: &[Share], served: &[Served]) {
        if !self.goes_around {
            return;
        }
        for (Share { priority, lane, .. }, came) in shares.iter().zip(served) {
            if came.due == self.share {
                self.with_more.push((*priority, lane.clone()));
            }
        }
    }
}
