//! Configurations of trust that would be a hole are refused at the start.

use std::time::Duration;

use usp_auth::{SigningKeys, TokenAlgorithm, TokenConfig, TokenService, TrustedIssuer};
use usp_model::ErrorKind;

use crate::forge::{HMAC_SECRET, WORLD, pem, trust};

/// 1024 bits, made with `openssl genrsa 1024 | openssl rsa -pubout`.
const SHORT_RSA_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQC1glnWDCFuR69ZHLrAHGobmKcn\n\
UBAsyARPKV/MyRt3giCteBj/6cGulIUO4OS4IIuAmikvFyKuAm7Lp1T/6tOPaoU9\n\
42IlKW18SlIPzw4yv8VL3BsnsY7afMiy/JZbK1Ozxrl54biXzyEBgEmUEJnRmJ5M\n\
xg7oZ9qbIE34mBZQzQIDAQAB\n\
-----END PUBLIC KEY-----\n\
";
/// Made with `openssl ecparam -name secp384r1 -genkey | openssl ec -pubout`.
const P384_PEM: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEkHa1UCD3QQS+gNflYdJBHqLkWftBtVJZ\n\
8DUQ+x3y7ngncaHXNvMtQBGYbnmGu+oFbfjXueM/jGMeZLu+jYsod4hg/Iq4Afzd\n\
LEJCHy/aLi6vCK09taJz90KXyodQhlbb\n\
-----END PUBLIC KEY-----\n\
";

fn problems(config: TokenConfig) -> Vec<String> {
    let keys = SigningKeys::generate().unwrap();
    let error = TokenService::new(&keys, config).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(!error.chain().contains(HMAC_SECRET));
    error.violations().iter().map(|violation| violation.pointer.clone()).collect()
}

#[test]
fn every_problem_is_named_at_once() {
    let nobody = TrustedIssuer {
        issuer: String::new(),
        audience: String::new(),
        ..trust(&WORLD.hs, TokenAlgorithm::Hs256, "short")
    };
    let config = TokenConfig {
        issuer: String::new(),
        audience: String::new(),
        access_ttl: Duration::ZERO,
        refresh_ttl: Duration::MAX,
        leeway_s: 61,
        trusted: vec![nobody; 17],
    };
    let named = problems(config);
    for pointer in [
        "/issuer",
        "/audience",
        "/access_ttl",
        "/refresh_ttl",
        "/leeway_s",
        "/trusted",
        "/trusted/0/issuer",
        "/trusted/0/audience",
        "/trusted/0/key",
        "/trusted/16/key",
    ] {
        assert!(named.iter().any(|name| name == pointer), "{pointer} in {named:?}");
    }
}

#[test]
fn nobody_else_may_issue_in_our_name() {
    let ours =
        TrustedIssuer { issuer: "usp".to_owned(), ..trust(&WORLD.hs, TokenAlgorithm::Hs256, HMAC_SECRET) };
    assert_eq!(
        problems(TokenConfig { trusted: vec![ours], ..TokenConfig::default() }),
        ["/trusted/0/issuer"]
    );
}

#[test]
fn keys_that_are_weak_private_or_of_another_kind_are_refused() {
    let world = &*WORLD;
    let private = pem("PRIVATE KEY", &[0; 48]);
    let cases = [
        (TokenAlgorithm::Hs256, "0123456789012345678901234567890"),
        (TokenAlgorithm::Hs256, ""),
        (TokenAlgorithm::Hs256, world.rs.public_pem.as_str()),
        (TokenAlgorithm::Rs256, SHORT_RSA_PEM),
        (TokenAlgorithm::Rs256, HMAC_SECRET),
        (TokenAlgorithm::Rs256, &world.es.public_pem),
        (TokenAlgorithm::Rs256, &world.ed.public_pem),
        (TokenAlgorithm::Es256, &world.rs.public_pem),
        (TokenAlgorithm::Es256, P384_PEM),
        (TokenAlgorithm::EdDsa, &world.es.public_pem),
        (TokenAlgorithm::EdDsa, &private),
        (TokenAlgorithm::EdDsa, ""),
    ];
    for (algorithm, key) in cases {
        let config =
            TokenConfig { trusted: vec![trust(&world.hs, algorithm, key)], ..TokenConfig::default() };
        assert_eq!(problems(config), ["/trusted/0/key"], "{algorithm} {key}");
    }
}

#[test]
fn a_trusted_issuer_reads_from_configuration_and_refuses_unknown_fields() {
    let text = r#"{"issuer": "i", "audience": "a", "algorithm": "EdDSA", "key": "k", "grants": [{"role": "reader"}]}"#;
    let issuer: TrustedIssuer = serde_json::from_str(text).unwrap();
    assert_eq!(issuer.algorithm, TokenAlgorithm::EdDsa);
    assert_eq!(issuer.key.expose(), "k");
    for other in
        [text.replace("EdDSA", "none"), text.replace("EdDSA", "HS512"), text.replace("issuer", "jwks_url")]
    {
        assert!(serde_json::from_str::<TrustedIssuer>(&other).is_err(), "{other}");
    }
    for algorithm in TokenAlgorithm::ALL {
        assert_eq!(algorithm.to_string().parse::<TokenAlgorithm>().unwrap(), *algorithm);
    }
    assert!("none".parse::<TokenAlgorithm>().is_err());
}

#[test]
fn a_service_does_not_print_its_keys() {
    let printed = format!("{:?}", WORLD.service);
    assert!(!printed.contains(HMAC_SECRET) && !printed.contains("BEGIN"), "{printed}");
    assert!(printed.contains("https://rs.example"));
}
