mod look_bounds;
mod model;
mod naive;
mod rule_bounds;
mod sweeper;

use std::collections::BTreeMap;

use self::model::{NOW, Style, World, asked, bounded, lane};
use super::sweep::Sweep;
use super::*;

/// Rule and bucket of runs, as `rule bucket`.
fn lanes_of(before: &World, ids: &[usize]) -> Vec<String> {
    ids.iter()
        .map(|id| {
            let lane = &before.waiting.iter().find(|run| run.id == *id).unwrap().lane;
            format!("{} {}", lane.rule, lane.bucket)
        })
        .collect()
}

fn claimed(world: &mut World, asked: &ClaimRuns) -> (Vec<String>, Turn) {
    let before = world.clone();
    let (ids, turn) = world.claim(asked);
    (lanes_of(&before, &ids), turn)
}

#[test]
fn leases_that_are_over_are_taken_back_first_and_so_many_at_most() {
    let claim = Claim::new(&asked(0, Turn::default()));
    assert_eq!(claim.ask(), Ask::Expired { count_max: 256 });
    let mut world = World { expired: 300, ..World::default() }.due(0, "a", 1, 1);
    assert_eq!(world.claim(&asked(0, Turn::default())).0.len(), 0, "nothing is wanted");
    assert_eq!((world.expired, world.asks.len()), (44, 2));
}

#[test]
fn the_highest_priority_goes_first_whatever_its_sign() {
    let priorities = [0, -3, i32::MIN, 7, i32::MAX, -2];
    let mut world = World::default();
    for priority in priorities {
        world = world.due(priority, "a", 1, 1);
    }
    assert_eq!(world.clone().claim(&asked(10, Turn::default())).0, [4, 3, 0, 5, 1, 2]);
    let in_batches = world.go(Claim::new(&asked(10, Turn::default())), Style::InBatches);
    assert_eq!(in_batches.0, [4, 3, 0, 5, 1, 2]);
}

#[test]
fn a_lower_priority_is_looked_at_only_for_what_the_higher_ones_left() {
    for (wanted, high, low) in [(2, 2, 0), (3, 3, 0), (4, 3, 1), (9, 3, 5)] {
        let mut world = World::default().due(1, "a", 1, 3).due(0, "a", 1, 5);
        let (ids, _) = world.claim(&asked(wanted, Turn::default()));
        let count_high = ids.iter().filter(|id| **id < 3).count();
        assert_eq!((count_high, ids.len() - count_high), (high, low), "{wanted}");
        assert_eq!(world.looks.contains_key(&0), low > 0, "{wanted}");
    }
}

#[test]
fn rules_and_buckets_are_served_in_turn_and_the_turn_goes_on() {
    let mut world = World::default().due(0, "b", 1, 9).due(0, "a", 2, 2).due(0, "a", 1, 9).due(0, "b", 3, 9);
    let mut turn = Turn::default();
    let mut order = Vec::new();
    for count in [1, 1, 1, 3, 1, 2, 2] {
        let (lanes, next) = claimed(&mut world, &asked(count, turn));
        turn = next;
        order.extend(lanes);
    }
    let round = ["a 1", "a 2", "b 1", "b 3"];
    assert_eq!(order[..8], [round, round].concat());
    assert_eq!(order[8..], ["a 1", "b 1", "b 3"]);
}

#[test]
fn each_lane_gets_an_equal_share_however_many_are_taken_at_once() {
    for lane_count in [1, 2, 3, 7_usize] {
        for count in [1, 2, 3, 5, 6, 20] {
            let mut world = World::default();
            for bucket in (1..).take(lane_count) {
                // The first is a backlog.
                world = world.due(0, "a", bucket, if bucket == 1 { 300 } else { 60 });
            }
            let (mut turn, mut served) = (Turn::default(), BTreeMap::new());
            for _ in 0..5 {
                let (lanes, next) = claimed(&mut world, &asked(count, turn));
                assert_eq!(lanes.len(), count as usize);
                turn = next;
                lanes.into_iter().for_each(|lane| *served.entry(lane).or_insert(0) += 1);
                let (least, most) = (served.values().min().unwrap(), served.values().max().unwrap());
                assert!(most - least <= 1 || served.len() < lane_count, "{served:?} by {count}");
            }
        }
    }
}

#[test]
fn of_a_lane_the_run_that_is_due_the_longest_goes_first_and_none_before_its_time() {
    let mut world = World::default();
    for due_ms in [NOW, NOW + 1, NOW - 5, NOW - 1] {
        world.add(0, lane("a", 1), due_ms);
    }
    assert_eq!(world.claim(&asked(10, Turn::default())).0, [2, 3, 0]);
}

#[test]
fn what_is_dead_on_arrival_takes_nobodys_place() {
    let mut world = World::default().due(0, "a", 1, 6);
    world.waiting[..3].iter_mut().for_each(|run| run.is_doomed = true);
    let asked = bounded(&[("a", Some(2))], asked(2, Turn::default()));
    assert_eq!(world.claim(&asked).0, [3, 4]);
    assert_eq!(world.waiting.len(), 1);
}

#[test]
fn the_turn_goes_behind_a_lane_whose_runs_were_all_dead_on_arrival() {
    let mut world = World::default().due(0, "a", 1, 2).due(0, "a", 2, 1);
    world.waiting[..2].iter_mut().for_each(|run| run.is_doomed = true);
    let one = World { waiting: world.waiting[..2].to_vec(), ..World::default() };
    let (ids, turn) = one.clone().claim(&asked(1, Turn::default()));
    assert_eq!((ids.len(), turn.last(0)), (0, Some(("a", 1))));
}

/// What is asked for at once: each share is as large as it would be if the others had been taken before it.
#[test]
fn shares_that_depend_on_others_are_asked_for_after_them() {
    type Batches = &'static [&'static [(&'static str, i64, usize)]];
    // Runs of lanes a 1, a 2, b 1; bound of a; what is wanted; shares.
    let cases: [([usize; 3], Option<u32>, u32, Batches); 9] = [
        ([9, 9, 9], None, 6, &[&[("a", 1, 2), ("a", 2, 2), ("b", 1, 2)]]),
        ([9, 9, 9], None, 7, &[&[("a", 1, 2), ("a", 2, 2), ("b", 1, 2)], &[("a", 1, 1)]]),
        ([9, 9, 9], None, 2, &[&[("a", 1, 1), ("a", 2, 1)]]),
        ([9, 9, 9], None, 1, &[&[("a", 1, 1)]]),
        // A lane that gave less than its share has no more.
        ([1, 9, 1], None, 6, &[&[("a", 1, 2), ("a", 2, 2), ("b", 1, 2)], &[("a", 2, 2)]]),
        // What a lane did not have is there for others.
        ([1, 1, 9], None, 9, &[&[("a", 1, 3), ("a", 2, 3), ("b", 1, 3)], &[("b", 1, 4)]]),
        // The second lane of a rule with a bound depends on the first; nothing is left for it.
        ([9, 9, 9], Some(2), 6, &[&[("a", 1, 2)], &[("b", 1, 2)], &[("b", 1, 1)], &[("b", 1, 1)]]),
        ([1, 9, 9], Some(3), 6, &[&[("a", 1, 2)], &[("a", 2, 2), ("b", 1, 2)], &[("b", 1, 1)]]),
        ([1, 9, 9], Some(3), 9, &[&[("a", 1, 3)], &[("a", 2, 2), ("b", 1, 3)], &[("b", 1, 3)]]),
    ];
    for ([a1, a2, b1], bound, wanted, expected) in cases {
        let mut world = World::default().due(0, "a", 1, a1).due(0, "a", 2, a2).due(0, "b", 1, b1);
        world.claim(&bounded(&[("a", bound), ("b", None)], asked(wanted, Turn::default())));
        let batches: Vec<Vec<_>> = world
            .asks
            .iter()
            .filter_map(|ask| match ask {
                Ask::Take(shares) => Some(shares),
                _ => None,
            })
            .map(|shares| shares.iter().map(|it| (it.lane.rule.as_str(), it.lane.bucket, it.count)).collect())
            .collect();
        assert_eq!(batches, expected, "{a1} {a2} {b1}, {bound:?}, {wanted} wanted");
    }
}

#[test]
fn a_turn_remembers_the_64_highest_priorities() {
    let mut turn = Turn::default();
    (0..66).for_each(|priority| turn.served(priority, "a", 7));
    turn.keep_highest();
    let kept: Vec<_> = (0..66).filter(|priority| turn.last(*priority).is_some()).collect();
    assert_eq!(kept, (2..66).collect::<Vec<_>>());
    let mut world = World::default();
    for priority in 0..70 {
        world = world.due(priority, "a", 1, 1);
    }
    let (_, turn) = world.claim(&asked(100, Turn::default()));
    assert_eq!((turn.last(5), turn.last(6)), (None, Some(("a", 1))));
}

#[test]
fn an_answer_to_something_else_is_refused() {
    let mut claim = Claim::new(&asked(1, Turn::default()));
    assert_eq!(claim.answer(Answer::Held(vec![1])).unwrap_err().kind(), ErrorKind::Internal);
    let mut sweep = Sweep::new(1);
    assert_eq!(sweep.answer(Answer::Priorities(vec![])).unwrap_err().kind(), ErrorKind::Internal);
    let mut claim = Claim::new(&asked(1, Turn::default()));
    claim.answer(Answer::Expired(0)).unwrap();
    claim.answer(Answer::Priorities(vec![1])).unwrap();
    let look = Look { lane: lane("a", 1), is_due: Some(true) };
    claim.answer(Answer::Looks(Looks { lanes: vec![look.clone()], is_end: false })).unwrap();
    claim.answer(Answer::Bounds(vec![None])).unwrap();
    claim.answer(Answer::Looks(Looks { lanes: vec![look], is_end: true })).unwrap();
    assert!(matches!(claim.ask(), Ask::Take(_)));
    assert_eq!(claim.answer(Answer::Served(vec![])).unwrap_err().kind(), ErrorKind::Internal);
}

/// An engine that finds nothing and does not say that it is the end, or never looks, does not hold a claim up for ever.
#[test]
fn answers_that_lead_nowhere_come_to_an_end() {
    let lazy = |lanes: Vec<Look>| {
        let mut claim = Claim::new(&bounded(&[("a", None)], asked(1, Turn::default())));
        for _ in 0..20 {
            let answer = match claim.ask() {
                Ask::Expired { .. } => Answer::Expired(0),
                Ask::Priorities { below, .. } => Answer::Priorities(below.map_or(vec![1], |_| vec![1])),
                Ask::Looks(_) => Answer::Looks(Looks { lanes: lanes.clone(), is_end: false }),
                Ask::Done(_) => return true,
                other => panic!("{other:?}"),
            };
            claim.answer(answer).unwrap();
        }
        false
    };
    assert!(lazy(vec![]));
    assert!(lazy(vec![Look { lane: lane("a", 1), is_due: Some(false) }]));
    assert!(lazy(vec![Look { lane: lane("a", 1), is_due: None }]));
}
