mod model;

use std::collections::BTreeMap;

use proptest::prelude::*;

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
fn a_rule_holds_no_more_than_its_bound_and_lets_others_pass() {
    // Bound and held; runs that are taken of 6 that wait in two buckets.
    let cases = [
        (Some(0), 0, 0),
        (Some(1), 0, 1),
        (Some(3), 0, 3),
        (Some(3), 2, 1),
        (Some(3), 3, 0),
        (Some(3), 9, 0),
        (Some(100), 0, 6),
        (None, 1_000, 6),
    ];
    for (bound, held, taken) in cases {
        for is_retired in [false, true] {
            let mut world = World::default().due(0, "a", 1, 3).due(0, "a", 2, 3).due(0, "b", 1, 2);
            world.held.insert("a".to_owned(), held);
            let mut asked = bounded(&[("b", None)], asked(20, Turn::default()));
            if is_retired {
                world.retired.extend(bound.map(|bound| ("a".to_owned(), bound)));
            } else {
                asked = bounded(&[("a", bound), ("b", None)], asked);
            }
            let (lanes, _) = claimed(&mut world, &asked);
            let count = |rule: &str| lanes.iter().filter(|lane| lane.starts_with(rule)).count();
            assert_eq!((count("a"), count("b")), (taken, 2), "{bound:?} {held} {is_retired}");
            let about = |ask: &Ask| matches!(ask, Ask::Held { .. } | Ask::Bounds { .. });
            let asks: Vec<_> = world.asks.iter().filter(|ask| about(ask)).cloned().collect();
            let mut expected = Vec::new();
            if is_retired {
                expected.push(Ask::Bounds { rules: vec!["a".to_owned()] });
            }
            expected.extend(bound.map(|bound| Ask::Held { rules: vec![("a".to_owned(), bound)] }));
            assert_eq!(asks, expected, "each is asked for once, and only if it matters");
        }
    }
}

#[test]
fn what_must_be_known_of_many_rules_is_asked_for_at_once_where_they_were_found_at_once() {
    let names: Vec<_> = (0..200).map(|number| format!("r{number:03}")).collect();
    let mut world = World::default();
    let mut bounds = BTreeMap::new();
    for (number, name) in names.iter().enumerate() {
        world = world.due(0, name, 1, 2).due(0, name, 2, 2);
        match number % 4 {
            0 => drop(bounds.insert(name.clone(), Some(3))),
            1 => drop(bounds.insert(name.clone(), None)),
            2 => drop(world.retired.insert(name.clone(), 1)),
            _ => {}
        }
    }
    world.held.insert("r000".to_owned(), 2);
    let asked = ClaimRuns { bounds: Arc::new(bounds), ..asked(1_000, Turn::default()) };
    let (mut one, mut many) = (world.clone(), world);
    let in_turn = one.go(Claim::new(&asked), Style::OneByOne);
    assert_eq!(many.go(Claim::new(&asked), Style::InBatches), in_turn);
    let of_retired = |ask: &Ask| match ask {
        Ask::Bounds { rules } => Some(rules.len()),
        _ => None,
    };
    let of_held = |ask: &Ask| match ask {
        Ask::Held { rules } => Some(rules.len()),
        _ => None,
    };
    let counts =
        |world: &World, of: fn(&Ask) -> Option<usize>| world.asks.iter().filter_map(of).collect::<Vec<_>>();
    // 128 rules are in the first batch of lanes, the others in the next.
    assert_eq!((counts(&many, of_retired), counts(&many, of_held)), (vec![64, 36], vec![64, 36]));
    assert_eq!((counts(&one, of_retired), counts(&one, of_held)), (vec![1; 100], vec![1; 100]));
}

#[test]
fn every_question_about_a_rule_has_its_answer() {
    let asked = bounded(&[("a", Some(1))], asked(1, Turn::default()));
    let at_rules = |rule: &str| {
        let mut claim = Claim::new(&asked);
        claim.answer(Answer::Expired(0)).unwrap();
        claim.answer(Answer::Priorities(vec![1])).unwrap();
        let look = Look { lane: lane(rule, 1), is_due: Some(true) };
        claim.answer(Answer::Looks(Looks { lanes: vec![look], is_end: true })).unwrap();
        claim
    };
    for (held, may) in [(vec![], false), (vec![0], true), (vec![0, 0], false)] {
        assert_eq!(at_rules("a").answer(Answer::Held(held)).is_ok(), may);
    }
    for (bounds, may) in [(vec![], false), (vec![None], true), (vec![None, None], false)] {
        assert_eq!(at_rules("b").answer(Answer::Bounds(bounds)).is_ok(), may);
    }
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
fn a_rule_that_is_full_costs_one_look_however_many_buckets_it_has() {
    for style in [Style::OneByOne, Style::InBatches] {
        let mut world = World::default().due(0, "b", 1, 1);
        for bucket in 1..=40 {
            world = world.due(0, "a", bucket, 1);
        }
        let asked = bounded(&[("a", Some(0)), ("b", None)], asked(5, Turn::default()));
        let (ids, _) = world.go(Claim::with_looks(&asked, 6), style);
        assert_eq!(ids, [0], "three looks are enough: for the rule, for the other one, for the end");
        assert_eq!(world.go(Claim::with_looks(&asked, 2), style).0.len(), 0, "one look is not");
    }
}

#[test]
fn a_priority_takes_half_of_the_looks_that_are_left() {
    let mut world = World::default();
    for bucket in 1..=100 {
        for priority in [9, 0, -9] {
            world = world.later(priority, "a", bucket);
        }
    }
    world = world.due(-20, "a", 1, 1);
    let asked = bounded(&[("a", None)], asked(5, Turn::default()));
    // Looks; those of each priority; whether the lowest is come to. The last one is half of what is left, rounded up.
    let cases = [
        (64, [32, 16, 8], true),
        (65, [33, 16, 8], true),
        (8, [4, 2, 1], true),
        (3, [2, 1, 0], false),
        (2, [1, 1, 0], false),
        (1, [1, 0, 0], false),
    ];
    for (look_count, looks, is_served) in cases {
        for style in [Style::OneByOne, Style::InBatches] {
            let mut world = world.clone();
            let (ids, turn) = world.go(Claim::with_looks(&asked, look_count), style);
            assert_eq!(!ids.is_empty(), is_served, "{look_count}");
            for (priority, count) in [9, 0, -9].into_iter().zip(looks) {
                // The next claim goes on where this one ended.
                let seen = turn.last(priority).map_or(0, |(_, bucket)| bucket);
                assert_eq!(seen, count, "{look_count} looks, priority {priority}");
            }
        }
    }
}

#[test]
fn looks_that_a_priority_did_not_need_are_those_of_the_next() {
    let mut world = World::default().later(5, "a", 1);
    for bucket in 1..=9 {
        world = world.later(0, "a", bucket);
    }
    let world = world.due(0, "a", 10, 1);
    let asked = bounded(&[("a", None)], asked(5, Turn::default()));
    // Two looks at the higher priority, for its lane and for the end; ten at the lower one.
    assert_eq!(world.clone().go(Claim::with_looks(&asked, 2 + 20), Style::OneByOne).0.len(), 1);
    assert_eq!(world.clone().go(Claim::with_looks(&asked, 2 + 19), Style::OneByOne).0.len(), 1);
    assert_eq!(world.clone().go(Claim::with_looks(&asked, 2 + 18), Style::OneByOne).0.len(), 0);
}

#[test]
fn a_claim_that_looked_long_enough_goes_on_where_it_ended() {
    let mut world = World::default();
    for bucket in 1..=100 {
        world = world.later(3, "a", bucket);
    }
    world = world.due(3, "a", 101, 1);
    for style in [Style::OneByOne, Style::InBatches] {
        let (mut world, mut turn, mut claim_count) = (world.clone(), Turn::default(), 0);
        loop {
            claim_count += 1;
            assert!(claim_count < 20, "it never comes to the last lane");
            let (ids, next) = world.go(Claim::with_looks(&asked(1, turn), 20), style);
            turn = next;
            if !ids.is_empty() {
                break;
            }
        }
        assert_eq!(claim_count, 11, "ten lanes each");
    }
}

#[test]
fn a_walk_comes_to_the_lane_that_was_served_last_and_not_beyond() {
    let mut turn = Turn::default();
    turn.served(0, "b", 2);
    let world = World::default().due(0, "a", 1, 1).due(0, "b", 1, 1).due(0, "b", 2, 1).due(0, "b", 3, 1);
    let asked = bounded(&[("a", None), ("b", None)], asked(9, turn));
    let mut one = world.clone();
    assert_eq!(claimed(&mut one, &asked).0, ["b 3", "a 1", "b 1", "b 2"]);
    // Behind the last: one and the end. From the beginning: three and the end.
    assert_eq!(one.looks[&0], 6);
    let walks = one.asks.iter().filter(|ask| matches!(ask, Ask::Looks(asked) if asked.until.is_some()));
    walks.for_each(|ask| assert!(matches!(ask, Ask::Looks(asked) if asked.until == Some(lane("b", 2)))));
}

#[test]
fn a_walk_whose_looks_end_with_the_lanes_begins_no_second_one() {
    let mut world = World::default();
    for bucket in 1..=10 {
        world = world.later(0, "a", bucket);
    }
    for style in [Style::OneByOne, Style::InBatches] {
        let mut turn = Turn::default();
        turn.served(0, "a", 5);
        let asked = bounded(&[("a", None)], asked(1, turn));
        // Half of twelve: for five lanes and the end.
        let (_, turn) = world.clone().go(Claim::with_looks(&asked, 12), style);
        assert_eq!(turn.last(0), Some(("a", 10)));
        // One more begins at the first lane.
        let (_, turn) = world.clone().go(Claim::with_looks(&asked, 14), style);
        assert_eq!(turn.last(0), Some(("a", 1)));
    }
}

#[test]
fn a_claim_serves_so_many_lanes_and_the_next_one_those_behind() {
    let mut world = World::default();
    for bucket in 1..=600 {
        world = world.due(0, "a", bucket, 2);
    }
    for style in [Style::OneByOne, Style::InBatches] {
        let mut world = world.clone();
        let before = world.clone();
        let (ids, turn) = world.go(Claim::new(&asked(520, Turn::default())), style);
        let lanes = lanes_of(&before, &ids);
        assert_eq!(ids.len(), 520);
        assert_eq!((lanes[0].as_str(), lanes[511].as_str()), ("a 1", "a 512"));
        assert_eq!((lanes[512].as_str(), turn.last(0)), ("a 1", Some(("a", 8))));
        let (ids, _) = world.go(Claim::new(&asked(1, turn)), style);
        assert_eq!(lanes_of(&before, &ids), ["a 9"]);
    }
}

#[test]
fn looks_are_bounded_in_all_and_in_one_answer() {
    let mut world = World::default();
    for bucket in 1..=5_000 {
        world.add(0, lane("a", bucket), NOW + 1);
    }
    let (ids, turn) = world.claim(&bounded(&[("a", None)], asked(1, Turn::default())));
    assert_eq!((ids, turn.last(0)), (vec![], Some(("a", 2_048))), "half of 4,096");
    assert_eq!(world.looks[&0], 2_048);
    let largest = world.asks.iter().filter_map(|ask| match ask {
        Ask::Looks(asked) => Some((asked.look_count_max, asked.due_count_max)),
        _ => None,
    });
    assert_eq!(largest.max(), Some((256, 512)));
    assert_eq!(world.asks[1], Ask::Priorities { below: None, count_max: 16 });
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

#[test]
fn what_the_sweeper_lists_has_some_of_each_lane() {
    // Limit, leases that are over; listed of 50 in one lane, 2 in the next, 50 at a lower priority.
    let cases = [
        (12, 0, [4, 2, 4]),
        (13, 0, [5, 2, 5]),
        (2, 0, [1, 1, 0]),
        (0, 0, [0, 0, 0]),
        (12, 5, [4, 2, 1]),
        (12, 12, [0, 0, 0]),
        (12, 20, [0, 0, 0]),
        (300, 0, [50, 2, 50]),
    ];
    for (limit, expired, expected) in cases {
        let mut world =
            World { expired, ..World::default() }.due(2, "a", 1, 50).due(2, "b", 1, 2).later(2, "c", 1);
        world = world.due(1, "a", 1, 50);
        let listed = world.sweep(limit, Style::OneByOne);
        let count = |range: std::ops::Range<usize>| listed.iter().filter(|id| range.contains(id)).count();
        assert_eq!([count(0..50), count(50..52), count(53..103)], expected, "{limit} {expired}");
        assert_eq!(world.asks[0], Ask::Expired { count_max: limit });
    }
}

#[test]
fn a_sweep_goes_through_so_many_lanes_and_looks() {
    assert_eq!((sweep::LOOK_COUNT_MAX, LOOK_COUNT_MAX, LANE_COUNT_MAX), (65_536, 4_096, 512));
    let mut world = World::default();
    for bucket in 1..=600 {
        world.add(0, lane("a", bucket), NOW);
    }
    assert_eq!(world.sweep(1_000, Style::OneByOne).len(), 512);
    let mut world = World::default();
    for bucket in 1..=3_000 {
        world.add(5, lane("a", bucket), NOW + 1);
    }
    world.add(0, lane("a", 1), NOW);
    assert_eq!(world.sweep(10, Style::InBatches), [3_000], "it goes on below what waits");
}

fn worlds() -> impl Strategy<Value = World> {
    let run = (-1..3_i32, 0..3_usize, 1..4_i64, NOW - 2..NOW + 2, prop::bool::weighted(0.1));
    let held = prop::collection::btree_map("[ab]", 0..4_u64, 0..3);
    (prop::collection::vec(run, 0..60), held, prop::collection::btree_map("c", 1..4_u32, 0..2), 0..4_usize)
        .prop_map(|(runs, held, retired, expired)| {
            let mut world = World { held, retired, expired, ..World::default() };
            for (priority, rule, bucket, due_ms, is_doomed) in runs {
                world.add(priority, lane(["a", "b", "c"][rule], bucket), due_ms);
                world.waiting.last_mut().unwrap().is_doomed = is_doomed;
            }
            world
        })
}

fn turns() -> impl Strategy<Value = Turn> {
    prop::collection::btree_map(-1..3_i32, ("[abcd]", 0..4_i64), 0..4).prop_map(Turn)
}

proptest! {
    #[test]
    fn a_claim_takes_what_a_naive_one_takes(
        world in worlds(),
        turn in turns(),
        counts in prop::collection::vec(0..40_u32, 1..5),
        bounds in prop::collection::btree_map("[ab]", prop::option::of(0..6_u32), 0..3),
    ) {
        let bounds = Arc::new(bounds);
        let (mut naive, mut one_by_one, mut in_batches) = (world.clone(), world.clone(), world);
        let mut turn = turn;
        for count in counts {
            let asked = ClaimRuns { bounds: Arc::clone(&bounds), ..asked(count, turn) };
            let expected = naive.naive_claim(&asked);
            prop_assert_eq!(&one_by_one.go(Claim::new(&asked), Style::OneByOne), &expected);
            prop_assert_eq!(&in_batches.go(Claim::new(&asked), Style::InBatches), &expected);
            prop_assert_eq!(&one_by_one.waiting, &naive.waiting);
            turn = expected.1;
        }
        prop_assert!(in_batches.asks.len() <= one_by_one.asks.len());
    }

    /// Whatever the bounds cut off, it makes no difference how an engine answers.
    #[test]
    fn how_an_engine_answers_makes_no_difference(
        world in worlds(),
        turn in turns(),
        count in 0..40_u32,
        look_count in 0..30_usize,
        bounds in prop::collection::btree_map("[ab]", prop::option::of(0..6_u32), 0..3),
    ) {
        let asked = ClaimRuns { bounds: Arc::new(bounds), ..asked(count, turn) };
        let one_by_one = world.clone().go(Claim::with_looks(&asked, look_count), Style::OneByOne);
        let in_batches = world.clone().go(Claim::with_looks(&asked, look_count), Style::InBatches);
        prop_assert_eq!(one_by_one, in_batches);
    }

    #[test]
    fn a_sweep_lists_what_a_naive_one_lists(world in worlds(), limit in 0..50_u32) {
        let expected = world.naive_sweep(limit as usize);
        prop_assert_eq!(&world.clone().sweep(limit, Style::OneByOne), &expected);
        prop_assert_eq!(&world.clone().sweep(limit, Style::InBatches), &expected);
    }
}
