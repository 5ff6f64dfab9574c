//! Tokens that hold, and what they are worth.

use std::time::Duration;

use serde_json::json;
use usp_auth::{SigningKeys, TokenConfig, TokenService};
use usp_model::{BucketName, ErrorKind, Grant, Role, Timestamp, UserName};

use crate::forge::{LEEWAY_S, NOW_S, WORLD, now};

fn alice() -> UserName {
    UserName::parse("alice").unwrap()
}

fn at(offset_s: i64) -> Timestamp {
    Timestamp::from_unix_ms((NOW_S + offset_s) * 1000)
}

#[test]
fn a_good_token_of_every_algorithm_is_accepted() {
    for party in WORLD.parties() {
        let verified = WORLD.service.verify(&party.token(), now()).unwrap();
        assert_eq!(verified.subject, alice(), "{}", party.issuer);
        assert_eq!(verified.expires_at, at(900));
        assert_eq!(verified.jti.as_deref(), Some("j-1"));
        assert_eq!(verified.issuer_is_own, party.issuer == "usp");
    }
}

#[test]
fn harmless_variations_are_accepted() {
    let world = &*WORLD;
    let tokens = [
        ("our audience among others", world.own.with_claim("aud", json!(["other", "usp"]))),
        ("claims we do not know", world.own.with_claim("email", json!("alice@example.com"))),
        ("typ with its prefix", world.own.with_header("typ", json!("application/at+jwt"))),
        ("typ in capitals", world.own.with_header("typ", json!("AT+JWT"))),
        ("a foreign token without typ", world.es.without_header("typ")),
        ("a foreign token with a kid that nobody asked for", world.hs.with_header("kid", json!("any"))),
        ("a foreign thumbprint", world.rs.with_header("x5t#S256", json!("abc"))),
        (
            "no iat, nbf or jti",
            world.hs.sign(
                &world.hs.header(),
                &json!({
                    "iss": world.hs.issuer, "aud": "usp", "sub": "alice", "exp": NOW_S + 1,
                }),
            ),
        ),
        (
            "the plain claims that the malformed ones vary",
            world.own.sign_raw(
                world.own.header().to_string().as_bytes(),
                br#"{"iss":"usp","aud":"usp","sub":"alice","exp":9999999999}"#,
            ),
        ),
        ("expired within the leeway", world.own.with_claim("exp", json!(NOW_S - LEEWAY_S + 1))),
        ("not yet valid within the leeway", world.own.with_claim("nbf", json!(NOW_S + LEEWAY_S))),
        ("issued ahead within the leeway", world.own.with_claim("iat", json!(NOW_S + LEEWAY_S))),
    ];
    for (name, token) in tokens {
        assert!(world.service.verify(&token, now()).is_ok(), "{name}");
    }
}

#[test]
fn an_issued_token_holds_until_it_expires_by_the_clock_that_is_passed_in() {
    let service = &WORLD.service;
    let token = service.issue(&alice(), None, Duration::from_secs(60), now()).unwrap();
    let verified = service.verify(&token, now()).unwrap();
    assert!(verified.issuer_is_own);
    assert_eq!(verified.grants, None, "its grants are those that the user has at each use");
    assert_eq!(verified.expires_at, at(60));

    assert!(service.verify(&token, at(60 + LEEWAY_S - 1)).is_ok());
    let expired = service.verify(&token, at(60 + LEEWAY_S)).unwrap_err();
    assert_eq!(expired.kind(), ErrorKind::Unauthenticated);
    assert!(expired.detail().contains("expired"));
    assert!(service.verify(&token, at(-LEEWAY_S)).is_ok());
    assert!(service.verify(&token, at(-LEEWAY_S - 1)).is_err());

    let other = service.issue(&alice(), None, Duration::from_secs(60), now()).unwrap();
    assert_ne!(service.verify(&other, now()).unwrap().jti, verified.jti);
}

#[test]
fn issued_grants_come_back_as_they_were() {
    let own = BucketName::parse("own").unwrap();
    for grants in [
        vec![],
        vec![Grant { bucket: None, role: Role::Admin }],
        vec![Grant { bucket: Some(own), role: Role::Writer }, Grant { bucket: None, role: Role::Reader }],
    ] {
        let token =
            WORLD.service.issue(&alice(), Some(grants.clone()), Duration::from_secs(60), now()).unwrap();
        assert_eq!(WORLD.service.verify(&token, now()).unwrap().grants, Some(grants));
    }
}

#[test]
fn a_token_that_could_not_be_presented_is_not_issued() {
    let grants = (0..500)
        .map(|n| Grant {
            bucket: Some(BucketName::parse(&format!("bucket-{n}")).unwrap()),
            role: Role::Reader,
        })
        .collect();
    let refused = WORLD.service.issue(&alice(), Some(grants), Duration::from_secs(60), now()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    for ttl in [Duration::ZERO, Duration::from_secs(400 * 24 * 60 * 60), Duration::MAX] {
        let refused = WORLD.service.issue(&alice(), None, ttl, now()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_foreign_token_is_worth_what_the_operator_says() {
    let reader = Some(vec![Grant { bucket: None, role: Role::Reader }]);
    let manager = Some(vec![Grant { bucket: None, role: Role::Manager }]);
    let admin = json!([{ "bucket": null, "role": "admin" }]);
    let cases = [
        ("no role claim", "other", json!("x"), &reader),
        ("a role", "usp_role", json!("manager"), &manager),
        ("the strongest of many", "usp_role", json!(["reader", "staff", 7, "manager"]), &manager),
        ("a word that is not ours", "usp_role", json!("superuser"), &reader),
        ("a role of the wrong type", "usp_role", json!({ "role": "admin" }), &reader),
        ("our private claim", "grants", admin, &reader),
    ];
    for (name, claim, value, expected) in cases {
        let token = WORLD.rs.with_claim(claim, value);
        assert_eq!(&WORLD.service.verify(&token, now()).unwrap().grants, expected, "{name}");
    }
}

#[test]
fn a_token_holds_after_a_restart_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys.json");
    let start =
        || TokenService::new(&SigningKeys::load_or_create(&path).unwrap(), TokenConfig::default()).unwrap();
    let token = start().issue(&alice(), None, Duration::from_secs(60), now()).unwrap();
    assert!(start().verify(&token, now()).is_ok());
    assert!(WORLD.service.verify(&token, now()).is_err());
}
