//! What the sweeper lists.

use super::*;

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
