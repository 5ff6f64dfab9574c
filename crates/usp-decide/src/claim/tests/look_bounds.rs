//! How many lanes and looks a claim has, and where the next one goes on.

use super::*;

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
