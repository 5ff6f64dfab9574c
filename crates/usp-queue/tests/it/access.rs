//! Who is let in by a broker that asks: keys, credential files, certificates.

use usp_queue::{NatsConfig, NatsCredential, NatsQueue, NatsTls, Queue};
use usp_testkit::{NatsCertificates, NatsServer, NatsUser, PATIENCE, until};

use crate::nats::{config, made};

/// Trouble that names `word`, told to a queue with these settings; it must not show `secret`.
async fn refused(config: &NatsConfig, word: &str, secret: &str) {
    let queue = NatsQueue::make(config, "test").await.unwrap();
    let trouble = until("the refusal", PATIENCE, async || {
        let trouble = queue.status().await.trouble;
        Ok(trouble.filter(|text| text.to_ascii_lowercase().contains(word)))
    });
    let trouble = trouble.await;
    assert!(trouble.is_ok(), "no '{word}' in {:?}", queue.trouble());
    let trouble = trouble.unwrap();
    assert!(!trouble.contains(secret), "{trouble}");
}

/// A server with `user` lets in whoever shows its secret, and nobody who shows another's.
async fn proves(user: NatsUser, another: NatsUser, shown: impl Fn(String) -> NatsCredential) {
    let server = NatsServer::start_with(&user.settings).await.unwrap();
    let mut config = config(&server.url(), "usp");
    config.credential = shown(another.secret.clone());
    refused(&config, "authorization", &another.secret).await;
    config.credential = NatsCredential::None;
    refused(&config, "authorization", &user.secret).await;
    config.credential = shown(user.secret);
    made(&config).await;
}

#[tokio::test]
async fn an_nkey_opens_and_another_does_not() {
    proves(NatsUser::with_nkey().unwrap(), NatsUser::with_nkey().unwrap(), NatsCredential::NKey).await;
}

#[tokio::test]
async fn a_creds_file_opens_and_one_of_another_operator_does_not() {
    proves(NatsUser::with_creds().unwrap(), NatsUser::with_creds().unwrap(), NatsCredential::Credentials)
        .await;
}

#[tokio::test]
async fn certificates_prove_both_sides() {
    let (ours, others) = (NatsCertificates::make().unwrap(), NatsCertificates::make().unwrap());
    let server = NatsServer::start_with(&ours.settings()).await.unwrap();
    let mut config = config(&server.url().replace("nats://", "tls://"), "usp");
    let tls = |trusted: &NatsCertificates, shown: Option<&NatsCertificates>| NatsTls {
        is_required: true,
        ca_file: Some(trusted.ca_file()),
        identity: shown.map(NatsCertificates::identity),
    };
    for (reason, tls) in [
        ("invalid peer certificate", tls(&others, Some(&ours))),
        ("unknownca", tls(&ours, Some(&others))),
        ("certificaterequired", tls(&ours, None)),
    ] {
        config.tls = tls;
        refused(&config, reason, "PRIVATE KEY").await;
    }
    config.tls = tls(&ours, Some(&ours));
    made(&config).await;
}

#[tokio::test]
async fn a_broker_without_tls_is_refused_where_it_is_required() {
    let server = NatsServer::start().await.unwrap();
    let mut config = config(&server.url(), "usp");
    config.tls.is_required = true;
    refused(&config, "does not speak tls", "canary").await;
}
