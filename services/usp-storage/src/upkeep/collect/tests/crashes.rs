//! A process that ends between two steps of a collection.

use super::*;

/// Runs the first `count` steps of a cycle.
async fn steps(world: &World, count: usize) {
    let act = || world.storage.core.duty("test");
    let mut cycle = Cycle::new(&world.storage.upkeep.collector, act(), Pace::Full);
    let catalog = &world.catalog;
    if count >= 1 {
        cycle.erase_doomed().await.unwrap();
    }
    if count < 2 {
        return;
    }
    let epoch = catalog.raise_epoch(act()).await.unwrap();
    let marks = cycle.mark().await.unwrap();
    if count >= 3 {
        cycle.sweep(&marks, epoch).await.unwrap();
    }
    let Some(pack) = catalog.pack_usage().await.unwrap().into_iter().find(|pack| {
        pack.record.state == PackState::Sealed && pack.live_chunks > 0 && super::super::dead_bytes(pack) > 0
    }) else {
        return;
    };
    let chunks = catalog.chunks_in_pack(pack.record.pack).await.unwrap();
    if count >= 4 {
        // Copied, not synced, not moved.
        let places = chunks.iter().map(|chunk| chunk.place).collect();
        world.storage.upkeep.content.copy_frames(places).await.unwrap();
    }
    if count >= 5 {
        let half = chunks.len().div_ceil(2);
        cycle.move_chunks(&chunks[..half]).await.unwrap();
    }
    if count >= 6 {
        cycle.empty(pack.record.pack).await.unwrap();
    }
    if count >= 7 {
        cycle.doom(&pack).await.unwrap();
    }
    if count >= 8 {
        for _cycle in 0..2 {
            catalog.raise_epoch(act()).await.unwrap();
        }
        // The file goes, the row stays.
        for doomed in catalog.erasable_packs(act(), world.storage.core.now()).await.unwrap() {
            world.storage.upkeep.content.delete_pack(doomed.record.pack).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_behind_any_step_loses_nothing_and_the_next_cycles_end_the_work() {
    for count in 0..=8 {
        let mut world = World::open().await;
        let mut expected = BTreeMap::new();
        for number in 0..20_u64 {
            let bytes = content(&[number, number / 2, 100]);
            world.put(&format!("f{number}"), &bytes).await.unwrap();
            expected.insert(format!("f{number}"), bytes);
        }
        world = world.reopened().await;
        for number in (0..20).filter(|number| number % 3 != 0) {
            world.delete(&format!("f{number}")).await.unwrap();
            expected.remove(&format!("f{number}"));
        }
        steps(&world, count).await;
        world = world.reopened().await;
        world.assert_holds(&expected).await;
        world.put("again", &content(&[1, 2, 4])).await.unwrap();
        expected.insert("again".to_owned(), content(&[1, 2, 4]));
        world.collect_all().await;
        world.assert_holds(&expected).await;
        world = world.reopened().await;
        world.assert_holds(&expected).await;
        let packs = world.catalog.packs().await.unwrap();
        assert!(packs.iter().all(|pack| pack.state != PackState::SetAside), "nothing is damaged");
        let rows: Vec<_> = packs.iter().map(|pack| pack.pack).collect();
        assert_eq!(rows, world.packs.list(), "after step {count} rows and files agree");
        assert_eq!(world.packs.lost_and_found(), [], "no file lost its row");
    }
}
