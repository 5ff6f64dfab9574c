use usp_catalog::records::{RefreshRow, Rotation};
use usp_model::{ApiKey, ApiKeyId, ErrorKind, Grant, Role};

use super::world::{World, act, at, kind_of, user};

fn grants(role: Role) -> Vec<Grant> {
    vec![Grant { bucket: None, role }]
}

fn api_key(owner: &str) -> ApiKey {
    ApiKey {
        id: ApiKeyId::random().unwrap(),
        name: "nightly import".to_owned(),
        user: user(owner),
        grants: grants(Role::Writer),
        created_at: at(0),
        expires_at: Some(at(1_000)),
        last_used_at: None,
    }
}

fn token(number: u8, expires_ms: i64) -> RefreshRow {
    RefreshRow { hash: [number; 32], family: [1; 16], user: user("alice"), expires_at: at(expires_ms) }
}

async fn with_alice(world: &World) {
    let hash = Some("argon".to_owned());
    world.catalog.create_user(act(0), user("alice"), hash, grants(Role::Reader)).await.unwrap();
}

async fn rotate(world: &World, from: u8, to: u8, ms: i64) -> Rotation {
    world.catalog.rotate_refresh_token(act(ms), [from; 32], [to; 32], at(ms + 1_000)).await.unwrap()
}

pub(crate) async fn users_are_made_changed_listed_and_deleted(world: World) {
    with_alice(&world).await;
    let again = world.catalog.create_user(act(0), user("alice"), None, Vec::new()).await;
    assert_eq!(kind_of(again), ErrorKind::Conflict);
    world.catalog.create_user(act(0), user("aaron"), None, Vec::new()).await.unwrap();
    let names: Vec<_> = world.catalog.list_users().await.unwrap().into_iter().map(|user| user.name).collect();
    assert_eq!(names, [user("aaron"), user("alice")]);
    let changed = world
        .catalog
        .update_user(act(5), &user("alice"), None, Some(grants(Role::Admin)), None)
        .await
        .unwrap();
    assert_eq!(
        (changed.grants.clone(), changed.disabled, changed.updated_at),
        (grants(Role::Admin), false, at(5))
    );
    let record = world.catalog.user(&user("alice")).await.unwrap();
    assert_eq!((record.user, record.password_hash.as_deref()), (changed, Some("argon")));
    world
        .catalog
        .update_user(act(6), &user("alice"), Some("new".to_owned()), None, Some(true))
        .await
        .unwrap();
    let record = world.catalog.user(&user("alice")).await.unwrap();
    assert_eq!((record.user.disabled, record.password_hash.as_deref()), (true, Some("new")));
    world.catalog.delete_user(act(0), &user("alice")).await.unwrap();
    assert_eq!(kind_of(world.catalog.delete_user(act(0), &user("alice")).await), ErrorKind::NotFound);
    assert_eq!(kind_of(world.catalog.user(&user("alice")).await), ErrorKind::NotFound);
    let absent = world.catalog.update_user(act(6), &user("alice"), None, None, None).await;
    assert_eq!(kind_of(absent), ErrorKind::NotFound);
}

pub(crate) async fn api_keys_belong_to_a_user_and_go_with_it(world: World) {
    with_alice(&world).await;
    let key = api_key("alice");
    world.catalog.create_api_key(act(0), key.clone(), [9; 32]).await.unwrap();
    assert_eq!(
        kind_of(world.catalog.create_api_key(act(0), key.clone(), [8; 32]).await),
        ErrorKind::Conflict
    );
    assert_eq!(
        kind_of(world.catalog.create_api_key(act(0), api_key("bob"), [8; 32]).await),
        ErrorKind::NotFound
    );
    let record = world.catalog.api_key(&key.id).await.unwrap();
    assert_eq!((record.key, record.secret_hash), (key.clone(), [9; 32]));
    assert_eq!(world.catalog.list_api_keys(Some(user("alice"))).await.unwrap(), std::slice::from_ref(&key));
    assert!(world.catalog.list_api_keys(Some(user("bob"))).await.unwrap().is_empty());
    let other = api_key("alice");
    world.catalog.create_api_key(act(0), other.clone(), [7; 32]).await.unwrap();
    world.catalog.delete_api_key(act(0), &other.id).await.unwrap();
    assert_eq!(kind_of(world.catalog.delete_api_key(act(0), &other.id).await), ErrorKind::NotFound);
    assert_eq!(world.catalog.list_api_keys(None).await.unwrap().len(), 1);
    world.catalog.delete_user(act(0), &user("alice")).await.unwrap();
    assert_eq!(kind_of(world.catalog.api_key(&key.id).await), ErrorKind::NotFound);
}

pub(crate) async fn the_use_of_a_key_is_noted_once_a_minute(world: World) {
    with_alice(&world).await;
    let key = api_key("alice");
    world.catalog.create_api_key(act(0), key.clone(), [9; 32]).await.unwrap();
    let used = async |ms| {
        world.catalog.touch_api_key(act(ms), &key.id).await.unwrap();
        world.catalog.api_key(&key.id).await.unwrap().key.last_used_at
    };
    assert_eq!(used(5).await, Some(at(5)));
    assert_eq!(used(59_000).await, Some(at(5)));
    assert_eq!(used(60_005).await, Some(at(60_005)));
    let stranger = ApiKeyId::random().unwrap();
    world.catalog.touch_api_key(act(0), &stranger).await.unwrap();
    assert_eq!(kind_of(world.catalog.api_key(&stranger).await), ErrorKind::NotFound);
}

pub(crate) async fn a_refresh_token_works_once_and_its_second_use_ends_the_family(world: World) {
    with_alice(&world).await;
    world.catalog.add_refresh_token(act(0), token(1, 1_000)).await.unwrap();
    assert_eq!(rotate(&world, 1, 2, 0).await, Rotation::Rotated { user: user("alice") });
    assert_eq!(rotate(&world, 2, 3, 1).await, Rotation::Rotated { user: user("alice") });
    assert_eq!(rotate(&world, 1, 4, 2).await, Rotation::Refused);
    assert_eq!(rotate(&world, 3, 5, 3).await, Rotation::Refused, "the thief's successor is gone too");
    let stranger = RefreshRow { user: user("bob"), ..token(6, 1_000) };
    assert_eq!(kind_of(world.catalog.add_refresh_token(act(0), stranger).await), ErrorKind::NotFound);
}

pub(crate) async fn expired_and_unknown_tokens_are_refused(world: World) {
    with_alice(&world).await;
    world.catalog.add_refresh_token(act(0), token(1, 1_000)).await.unwrap();
    assert_eq!(rotate(&world, 9, 2, 0).await, Rotation::Refused);
    assert_eq!(rotate(&world, 1, 2, 1_000).await, Rotation::Refused);
}

pub(crate) async fn keys_whose_time_is_over_are_forgotten(world: World) {
    const DAY_MS: i64 = 86_400_000;
    with_alice(&world).await;
    for number in 1..=3 {
        world.catalog.add_refresh_token(act(0), token(number, 1_000 * i64::from(number))).await.unwrap();
    }
    let mut new = world.new_version("a", 1);
    new.idempotency_key = Some("once".to_owned());
    world.catalog.commit_version(act(0), new).await.unwrap();
    assert_eq!(world.catalog.prune_keys(act(2_000), 1).await.unwrap(), 1);
    assert_eq!(world.catalog.prune_keys(act(2_000), 100).await.unwrap(), 1);
    assert_eq!(world.catalog.prune_keys(act(2_000), 100).await.unwrap(), 0);
    assert_eq!(rotate(&world, 3, 4, 2_000).await, Rotation::Rotated { user: user("alice") });
    assert_eq!(world.catalog.prune_keys(act(DAY_MS), 100).await.unwrap(), 3, "two tokens and the key");
}

pub(crate) async fn a_new_password_or_disabling_ends_sessions_and_new_grants_do_not(world: World) {
    with_alice(&world).await;
    let alice = user("alice");
    world.catalog.add_refresh_token(act(0), token(1, 1_000)).await.unwrap();
    world.catalog.update_user(act(0), &alice, None, Some(Vec::new()), Some(false)).await.unwrap();
    assert_eq!(rotate(&world, 1, 2, 0).await, Rotation::Rotated { user: alice.clone() });
    world.catalog.update_user(act(0), &alice, Some("new".to_owned()), None, None).await.unwrap();
    assert_eq!(rotate(&world, 2, 3, 0).await, Rotation::Refused);
    world.catalog.add_refresh_token(act(0), token(4, 1_000)).await.unwrap();
    world.catalog.update_user(act(0), &alice, None, None, Some(true)).await.unwrap();
    assert_eq!(rotate(&world, 4, 5, 0).await, Rotation::Refused);
}
