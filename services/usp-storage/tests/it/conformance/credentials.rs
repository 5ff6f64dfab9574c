//! Credentials: what makes a caller, and what ends one.

use std::time::Duration;

use usp_api::{Caller, CreatedApiKey, NewApiKey, NewUser, TokenGrant, TokenPair, UserPatch};
use usp_auth::{Credential, SecretText};
use usp_model::{ErrorKind, Grant, Principal, PrincipalKind, Result, Role};

use crate::support::{House, admin, bucket, user};

facts! {
    a_password_gets_a_token_and_the_token_its_user,
    a_wrong_password_and_an_unknown_name_answer_alike,
    what_is_no_credential_is_refused,
    a_token_ends_with_its_time,
    a_refresh_token_works_once_and_its_reuse_ends_the_family,
    a_disabled_user_is_out_at_once,
    a_new_password_ends_the_sessions_before_it,
    an_api_key_is_its_user_with_no_more_than_it_was_granted,
    an_api_key_opens_though_its_use_cannot_be_noted,
    a_revoked_api_key_is_refused,
    an_api_key_ends_with_its_time,
    users_revoke_their_own_keys_whatever_those_were_made_for,
    too_many_failures_make_a_name_wait,
}

const PASSWORD: &str = "a long and boring password";

fn writer_everywhere() -> Vec<Grant> {
    vec![Grant { bucket: None, role: Role::Writer }]
}

async fn alice(house: &House) {
    let new =
        NewUser { name: user("alice"), password: Some(PASSWORD.to_owned()), grants: writer_everywhere() };
    let created = house.door.create_user(&admin(), new).await.unwrap();
    assert_eq!(created.password, None, "a password that was given is not told again");
}

async fn sign_in(house: &House, name: &str, password: &str) -> Result<TokenPair> {
    let grant = TokenGrant::Password { user: user(name), password: password.to_owned() };
    house.door.issue_token(grant).await
}

async fn refresh(house: &House, token: &str) -> Result<TokenPair> {
    house.door.issue_token(TokenGrant::Refresh { token: token.to_owned() }).await
}

async fn show(house: &House, secret: &str) -> Result<Principal> {
    house.door.authenticate(Credential::Bearer(SecretText::new(secret))).await
}

async fn api_key(house: &House, grants: Vec<Grant>, ttl_s: Option<u64>) -> CreatedApiKey {
    let new = NewApiKey { user: Some(user("alice")), name: "a test".to_owned(), grants, ttl_s };
    house.door.create_api_key(&admin(), new).await.unwrap()
}

fn refused<T: std::fmt::Debug>(outcome: Result<T>) {
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unauthenticated);
}

async fn a_password_gets_a_token_and_the_token_its_user(house: House) {
    alice(&house).await;
    let tokens = sign_in(&house, "alice", PASSWORD).await.unwrap();
    assert!(tokens.expires_in_s > 0);
    let principal = show(&house, &tokens.access_token).await.unwrap();
    assert_eq!((principal.kind, principal.name), (PrincipalKind::User, user("alice")));
    assert_eq!(principal.grants, writer_everywhere());
    // Grants are those of the moment, not those of the sign-in.
    let patch = UserPatch { grants: Some(Vec::new()), ..UserPatch::default() };
    house.door.update_user(&admin(), user("alice"), patch).await.unwrap();
    assert!(show(&house, &tokens.access_token).await.unwrap().grants.is_empty());
}

async fn a_wrong_password_and_an_unknown_name_answer_alike(house: House) {
    alice(&house).await;
    let wrong = sign_in(&house, "alice", "another password").await.unwrap_err();
    let unknown = sign_in(&house, "nobody", PASSWORD).await.unwrap_err();
    assert_eq!(wrong.kind(), ErrorKind::Unauthenticated);
    assert_eq!((wrong.kind(), wrong.detail()), (unknown.kind(), unknown.detail()));
}

async fn what_is_no_credential_is_refused(house: House) {
    alice(&house).await;
    let tokens = sign_in(&house, "alice", PASSWORD).await.unwrap();
    let mut forged = tokens.access_token.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    for text in ["", "nonsense", "usp_0123456789abcdef_x", "a.b.c", &forged, &tokens.refresh_token] {
        refused(show(&house, text).await);
    }
    refused(refresh(&house, "nonsense").await);
    refused(refresh(&house, &tokens.access_token).await);
}

async fn a_token_ends_with_its_time(house: House) {
    alice(&house).await;
    let tokens = sign_in(&house, "alice", PASSWORD).await.unwrap();
    let leeway = Duration::from_secs(60);
    house.advance(Duration::from_secs(tokens.expires_in_s) + leeway);
    refused(show(&house, &tokens.access_token).await);
    house.advance(Duration::from_secs(30 * 24 * 60 * 60));
    refused(refresh(&house, &tokens.refresh_token).await);
}

async fn a_refresh_token_works_once_and_its_reuse_ends_the_family(house: House) {
    alice(&house).await;
    let first = sign_in(&house, "alice", PASSWORD).await.unwrap();
    let other = sign_in(&house, "alice", PASSWORD).await.unwrap();
    let second = refresh(&house, &first.refresh_token).await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    show(&house, &second.access_token).await.unwrap();
    // Someone holds a copy: nobody may go on with this family.
    refused(refresh(&house, &first.refresh_token).await);
    refused(refresh(&house, &second.refresh_token).await);
    refresh(&house, &other.refresh_token).await.unwrap();
}

async fn a_disabled_user_is_out_at_once(house: House) {
    alice(&house).await;
    let tokens = sign_in(&house, "alice", PASSWORD).await.unwrap();
    let key = api_key(&house, Vec::new(), None).await;
    let set = async |disabled| {
        let patch = UserPatch { disabled: Some(disabled), ..UserPatch::default() };
        house.door.update_user(&admin(), user("alice"), patch).await.unwrap();
    };
    set(true).await;
    refused(show(&house, &tokens.access_token).await);
    refused(show(&house, &key.secret).await);
    refused(refresh(&house, &tokens.refresh_token).await);
    refused(sign_in(&house, "alice", PASSWORD).await);
    set(false).await;
    show(&house, &key.secret).await.unwrap();
    refused(refresh(&house, &tokens.refresh_token).await);
    sign_in(&house, "alice", PASSWORD).await.unwrap();
}

async fn a_new_password_ends_the_sessions_before_it(house: House) {
    alice(&house).await;
    let tokens = sign_in(&house, "alice", PASSWORD).await.unwrap();
    let patch = UserPatch { password: Some("another long password".to_owned()), ..UserPatch::default() };
    house.door.update_user(&admin(), user("alice"), patch).await.unwrap();
    refused(refresh(&house, &tokens.refresh_token).await);
    refused(sign_in(&house, "alice", PASSWORD).await);
    sign_in(&house, "alice", "another long password").await.unwrap();
}

async fn an_api_key_is_its_user_with_no_more_than_it_was_granted(house: House) {
    alice(&house).await;
    let whole = api_key(&house, Vec::new(), None).await;
    let principal = show(&house, &whole.secret).await.unwrap();
    assert_eq!((principal.kind, principal.api_key), (PrincipalKind::ApiKey, Some(whole.key.id)));
    assert_eq!((principal.name, principal.grants), (user("alice"), writer_everywhere()));
    let greedy = vec![
        Grant { bucket: Some(bucket("default")), role: Role::Admin },
        Grant { bucket: Some(bucket("other")), role: Role::Reader },
    ];
    let narrow = api_key(&house, greedy, None).await;
    let allowed = [
        Grant { bucket: Some(bucket("default")), role: Role::Writer },
        Grant { bucket: Some(bucket("other")), role: Role::Reader },
    ];
    assert_eq!(show(&house, &narrow.secret).await.unwrap().grants, allowed);
}

async fn users_revoke_their_own_keys_whatever_those_were_made_for(house: House) {
    alice(&house).await;
    let me = Caller {
        principal: show(&house, &sign_in(&house, "alice", PASSWORD).await.unwrap().access_token)
            .await
            .unwrap(),
        ..admin()
    };
    // More than she has, which counts for nothing; and as much as she had once.
    let greedy = api_key(&house, vec![Grant { bucket: None, role: Role::Admin }], None).await;
    let former = api_key(&house, writer_everywhere(), None).await;
    house.door.revoke_api_key(&me, greedy.key.id).await.unwrap();
    let reader = vec![Grant { bucket: None, role: Role::Reader }];
    let patch = UserPatch { grants: Some(reader.clone()), ..UserPatch::default() };
    house.door.update_user(&admin(), user("alice"), patch).await.unwrap();
    let me = Caller { principal: Principal { grants: reader, ..me.principal }, ..admin() };
    house.door.revoke_api_key(&me, former.key.id).await.unwrap();
    refused(show(&house, &former.secret).await);
}

/// As with a disk that is full: it still has to open what makes room.
async fn an_api_key_opens_though_its_use_cannot_be_noted(house: House) {
    alice(&house).await;
    let created = api_key(&house, Vec::new(), None).await;
    let _held = house.hold_catalog();
    let shown = tokio::time::timeout(Duration::from_secs(2), show(&house, &created.secret)).await;
    assert_eq!(shown.unwrap().unwrap().name, user("alice"));
}

async fn a_revoked_api_key_is_refused(house: House) {
    alice(&house).await;
    let (gone, kept) = (api_key(&house, Vec::new(), None).await, api_key(&house, Vec::new(), None).await);
    house.door.revoke_api_key(&admin(), gone.key.id.clone()).await.unwrap();
    refused(show(&house, &gone.secret).await);
    show(&house, &kept.secret).await.unwrap();
    // The right id with the secret of another key.
    let secret_of = |key: &CreatedApiKey| key.secret.rsplit('_').next().unwrap().to_owned();
    let mixed = kept.secret.replace(&secret_of(&kept), &secret_of(&gone));
    refused(show(&house, &mixed).await);
}

async fn an_api_key_ends_with_its_time(house: House) {
    alice(&house).await;
    let key = api_key(&house, Vec::new(), Some(60)).await;
    house.advance(Duration::from_secs(59));
    show(&house, &key.secret).await.unwrap();
    house.advance(Duration::from_secs(1));
    refused(show(&house, &key.secret).await);
}

async fn too_many_failures_make_a_name_wait(house: House) {
    alice(&house).await;
    let mut refusal = sign_in(&house, "alice", "guess").await.unwrap_err();
    for _ in 0..10 {
        assert_eq!(refusal.kind(), ErrorKind::Unauthenticated);
        refusal = sign_in(&house, "alice", "guess").await.unwrap_err();
    }
    assert_eq!(refusal.kind(), ErrorKind::RateLimited);
    let wait = refusal.retry_after_hint().unwrap();
    assert_eq!(sign_in(&house, "alice", PASSWORD).await.unwrap_err().kind(), ErrorKind::RateLimited);
    house.advance(wait);
    sign_in(&house, "alice", PASSWORD).await.unwrap();
}
