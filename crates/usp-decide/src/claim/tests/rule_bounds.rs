//! How many runs of a rule may be held, and what is asked to know it.

use super::*;

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
