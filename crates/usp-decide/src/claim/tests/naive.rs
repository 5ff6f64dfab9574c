//! Any world: a claim takes what a naive one takes, however an engine answers.

use proptest::prelude::*;

use super::*;

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
