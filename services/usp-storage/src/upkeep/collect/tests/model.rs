//! A store that is collected all the time, against a map.

use proptest::test_runner::{Config, TestRunner};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Put(u8, Vec<u64>),
    PutInParts(u8, Vec<u64>),
    Copy(u8, u8),
    Delete(u8),
    Collect,
    Restart,
    Read(u8, u16, u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let at = 0..6_u8;
    let blocks = prop::collection::vec(0..10_u64, 0..5);
    let step = prop_oneof![
        4 => (at.clone(), blocks.clone()).prop_map(|(at, blocks)| Step::Put(at, blocks)),
        2 => (at.clone(), blocks).prop_map(|(at, blocks)| Step::PutInParts(at, blocks)),
        2 => (at.clone(), at.clone()).prop_map(|(from, to)| Step::Copy(from, to)),
        3 => at.clone().prop_map(Step::Delete),
        5 => Just(Step::Collect),
        1 => Just(Step::Restart),
        2 => (at, any::<u16>(), any::<u16>()).prop_map(|(at, start, len)| Step::Read(at, start, len)),
    ];
    prop::collection::vec(step, 1..24)
}

async fn play(steps: Vec<Step>) {
    let mut world = World::open().await;
    let mut expected: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Put(at, blocks) => {
                let bytes = content(&blocks);
                world.put(&format!("k{at}"), &bytes).await.unwrap();
                expected.insert(format!("k{at}"), bytes);
            }
            Step::PutInParts(at, blocks) => {
                let parts: Vec<_> = blocks.iter().map(|&block| content(&[block])).collect();
                if !parts.is_empty() {
                    let name = format!("k{at}");
                    let (joined, _report) = tokio::join!(world.put_in_parts(&name, &parts), world.collect());
                    joined.unwrap();
                    expected.insert(name, parts.concat());
                }
            }
            Step::Copy(from, to) => {
                let Some(bytes) = expected.get(&format!("k{from}")).cloned() else { continue };
                world.put(&format!("k{to}"), &bytes).await.unwrap();
                expected.insert(format!("k{to}"), bytes);
            }
            Step::Delete(at) => {
                let was_there = expected.remove(&format!("k{at}")).is_some();
                assert_eq!(world.delete(&format!("k{at}")).await.is_ok(), was_there);
            }
            Step::Collect => drop(world.collect().await),
            Step::Restart => world = world.reopened().await,
            Step::Read(at, start, len) => {
                let Some(bytes) = expected.get(&format!("k{at}")).filter(|bytes| !bytes.is_empty()) else {
                    continue;
                };
                let start = usize::from(start) % bytes.len();
                let end = (start + 1 + usize::from(len)).min(bytes.len());
                let range = ByteRange::new(start as u64, end as u64).unwrap();
                let part = read(&world.storage, &format!("k{at}"), Some(range)).await.unwrap();
                assert!(part == bytes[start..end]);
            }
        }
    }
    world.assert_holds(&expected).await;
    world.collect_all().await;
    world.assert_holds(&expected).await;
}

#[test]
fn a_store_that_is_collected_all_the_time_equals_a_map() {
    const CASES: u32 = 250;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let ended = runner.run(&steps(), |steps| {
        runtime.block_on(Box::pin(play(steps)));
        Ok(())
    });
    ended.unwrap();
}
