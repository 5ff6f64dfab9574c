//! Rules as they are in force and as they were written.

use usp_catalog::records::Erased;
use usp_model::Rule;

use super::world::{World, act, rule, rule_name};

pub(crate) async fn a_rule_gets_a_new_version_just_when_its_meaning_changes(world: World) {
    let described = Rule { description: "why".to_owned(), version: 9, ..rule("profile") };
    assert_eq!(world.catalog.put_rule(act(1), described).await.unwrap().version, 1);
    let changed = Rule { when: "false".to_owned(), ..rule("profile") };
    assert_eq!(world.catalog.put_rule(act(2), changed.clone()).await.unwrap().version, 2);
    assert_eq!(world.catalog.put_rule(act(2), rule("another")).await.unwrap().version, 1);
    let listed = world.catalog.list_rules().await.unwrap();
    let named: Vec<_> = listed.iter().map(|rule| (rule.name.as_str(), rule.version)).collect();
    assert_eq!(named, [("another", 1), ("profile", 2)]);
    world.catalog.retire_rules(act(0), vec![rule_name("another")]).await.unwrap();
    assert_eq!(world.catalog.list_rules().await.unwrap().len(), 1);
    assert_eq!(world.catalog.put_rule(act(3), changed).await.unwrap().version, 2);
    assert_eq!(world.catalog.list_rules().await.unwrap().len(), 2);
}

async fn listed(world: &World) -> Vec<(String, u32)> {
    let rules = world.catalog.list_rules().await.unwrap();
    rules.into_iter().map(|rule| (rule.name.to_string(), rule.version)).collect()
}

pub(crate) async fn a_written_rule_is_in_force_and_known_as_written_after_a_restart(world: World) {
    let written = Rule { version: 7, ..rule("by-hand") };
    let kept = world.catalog.write_rule(act(1), written.clone()).await.unwrap();
    assert_eq!(kept.version, 1, "versions count from 1, whatever is said");
    let world = world.reopened().await;
    assert_eq!(world.catalog.written_rules().await.unwrap(), std::slice::from_ref(&written));
    assert_eq!(listed(&world).await, [("by-hand".to_owned(), 1), ("profile".to_owned(), 1)]);
    let changed = Rule { when: "false".to_owned(), ..written };
    assert_eq!(world.catalog.write_rule(act(2), changed.clone()).await.unwrap().version, 2);
    assert_eq!(world.catalog.written_rules().await.unwrap(), [changed]);
}

pub(crate) async fn an_erased_rule_counts_no_more_or_gives_its_place_to_the_one_behind_it(world: World) {
    let name = rule_name("profile");
    assert_eq!(world.catalog.erase_rule(act(1), &name, None).await.unwrap(), Erased::NotWritten);
    assert_eq!(listed(&world).await, [("profile".to_owned(), 1)], "it was not written, so it stays");
    let changed = Rule { when: "false".to_owned(), ..rule("profile") };
    world.catalog.write_rule(act(2), changed.clone()).await.unwrap();
    let erased = world.catalog.erase_rule(act(3), &name, Some(rule("profile"))).await.unwrap();
    assert_eq!(erased, Erased::Now(Some(Rule { version: 3, ..rule("profile") })));
    assert_eq!(listed(&world).await, [("profile".to_owned(), 3)]);
    world.catalog.write_rule(act(4), changed).await.unwrap();
    assert_eq!(world.catalog.erase_rule(act(5), &name, None).await.unwrap(), Erased::Now(None));
    assert!(listed(&world).await.is_empty());
    assert!(world.catalog.written_rules().await.unwrap().is_empty());
}
