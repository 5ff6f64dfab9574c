//! Users and their keys: who may make, change and end them.

use usp_api::{Caller, NewApiKey, NewUser, UserPatch};
use usp_model::{ErrorKind, Grant, PrincipalKind, Role};

use crate::support::{House, admin, in_all_buckets, in_bucket, user};

facts! {
    a_user_without_a_password_gets_one_drawn,
    a_user_name_is_taken_once,
    a_short_password_is_refused,
    the_last_administrator_stays,
    the_last_two_administrators_do_not_go_at_once,
    users_keep_their_own_keys_and_see_no_others,
    a_key_makes_no_keys,
    a_subject_of_another_issuer_is_not_the_user_of_its_name,
    a_key_says_what_it_is_for,
    the_keys_of_a_deleted_user_go_with_it,
}

async fn make(house: &House, name: &str, role: Role) {
    let grants = vec![Grant { bucket: None, role }];
    let new = NewUser { name: user(name), password: None, grants };
    house.door.create_user(&admin(), new).await.unwrap();
}

fn any_key() -> NewApiKey {
    NewApiKey { user: None, name: "a test".to_owned(), grants: Vec::new(), ttl_s: None }
}

async fn a_user_without_a_password_gets_one_drawn(house: House) {
    let new = NewUser { name: user("alice"), password: None, grants: Vec::new() };
    let created = house.door.create_user(&admin(), new).await.unwrap();
    let password = created.password.unwrap();
    assert!(password.len() >= 16);
    let grant = usp_api::TokenGrant::Password { user: user("alice"), password };
    house.door.issue_token(grant).await.unwrap();
}

async fn a_user_name_is_taken_once(house: House) {
    make(&house, "alice", Role::Reader).await;
    let again = NewUser { name: user("alice"), password: None, grants: Vec::new() };
    let refused = house.door.create_user(&admin(), again).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    let absent = house.door.delete_user(&admin(), user("nobody")).await.unwrap_err();
    assert_eq!(absent.kind(), ErrorKind::NotFound);
}

async fn a_short_password_is_refused(house: House) {
    let new = NewUser { name: user("alice"), password: Some("short".to_owned()), grants: Vec::new() };
    let refused = house.door.create_user(&admin(), new).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(house.door.list_users(&admin()).await.unwrap().is_empty());
}

async fn the_last_administrator_stays(house: House) {
    for (name, role) in [("first", Role::Admin), ("second", Role::Admin), ("third", Role::Manager)] {
        make(&house, name, role).await;
    }
    let change = async |name, patch| house.door.update_user(&admin(), user(name), patch).await;
    let disabled = UserPatch { disabled: Some(true), ..UserPatch::default() };
    change("first", disabled.clone()).await.unwrap();
    let demoted = vec![Grant { bucket: None, role: Role::Manager }];
    let demoted = UserPatch { grants: Some(demoted), ..UserPatch::default() };
    for patch in [disabled.clone(), demoted.clone()] {
        assert_eq!(change("second", patch).await.unwrap_err().kind(), ErrorKind::Conflict);
    }
    let refused = house.door.delete_user(&admin(), user("second")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    // Others may go, and with another administrator this one may, too.
    change("third", disabled).await.unwrap();
    change("first", UserPatch { disabled: Some(false), ..UserPatch::default() }).await.unwrap();
    change("second", demoted).await.unwrap();
    house.door.delete_user(&admin(), user("second")).await.unwrap();
}

async fn the_last_two_administrators_do_not_go_at_once(house: House) {
    make(&house, "first", Role::Admin).await;
    make(&house, "second", Role::Admin).await;
    let caller = admin();
    let gone = tokio::join!(
        house.door.delete_user(&caller, user("first")),
        house.door.delete_user(&caller, user("second")),
    );
    assert_ne!(gone.0.is_ok(), gone.1.is_ok(), "{gone:?}");
}

async fn users_keep_their_own_keys_and_see_no_others(house: House) {
    make(&house, "alice", Role::Reader).await;
    make(&house, "bob", Role::Reader).await;
    let (alice, bob) = (in_all_buckets("alice", Role::Reader), in_all_buckets("bob", Role::Reader));
    let hers = house.door.create_api_key(&alice, any_key()).await.unwrap().key;
    let his = house.door.create_api_key(&bob, any_key()).await.unwrap().key;
    let ids = async |caller: &Caller| {
        let keys = house.door.list_api_keys(caller).await.unwrap();
        keys.into_iter().map(|key| key.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&alice).await, std::slice::from_ref(&hers.id));
    assert_eq!(ids(&admin()).await.len(), 2);
    let refused = house.door.revoke_api_key(&alice, his.id.clone()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NotFound);
    house.door.revoke_api_key(&alice, hers.id).await.unwrap();
    assert!(ids(&alice).await.is_empty());
    house.door.revoke_api_key(&admin(), his.id).await.unwrap();
}

async fn a_key_makes_no_keys(house: House) {
    make(&house, "alice", Role::Writer).await;
    let mut key = in_bucket("alice", "default", Role::Writer);
    key.principal.kind = PrincipalKind::ApiKey;
    let refused = house.door.create_api_key(&key, any_key()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
}

async fn a_subject_of_another_issuer_is_not_the_user_of_its_name(house: House) {
    make(&house, "alice", Role::Reader).await;
    let alice = in_all_buckets("alice", Role::Reader);
    house.door.create_api_key(&alice, any_key()).await.unwrap();
    let mut foreign = alice.clone();
    foreign.principal.kind = PrincipalKind::Foreign;
    let refused = house.door.create_api_key(&foreign, any_key()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(house.door.list_api_keys(&foreign).await.unwrap().is_empty());
}

async fn a_key_says_what_it_is_for(house: House) {
    make(&house, "alice", Role::Writer).await;
    let alice = in_all_buckets("alice", Role::Writer);
    for name in [String::new(), "x".repeat(129), "line\nbreak".to_owned()] {
        let refused = house.door.create_api_key(&alice, NewApiKey { name, ..any_key() }).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

async fn the_keys_of_a_deleted_user_go_with_it(house: House) {
    make(&house, "alice", Role::Writer).await;
    let new = NewApiKey { user: Some(user("alice")), ..any_key() };
    let created = house.door.create_api_key(&admin(), new).await.unwrap();
    house.door.delete_user(&admin(), user("alice")).await.unwrap();
    let shown = usp_auth::Credential::Bearer(usp_auth::SecretText::new(created.secret));
    let refused = house.door.authenticate(shown).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unauthenticated);
    assert!(house.door.list_api_keys(&admin()).await.unwrap().is_empty());
}
