//! The contract of `StorageApi`, as facts. Each is a function that is given a fresh house and proves one thing at its
//! door; it runs once for every kind of door, so that no caller can tell which one it holds.

/// Makes two tests of each fact.
macro_rules! facts {
    ($($fact:ident),+ $(,)?) => {
        mod in_process {
            use crate::support::{Door, House};

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                Box::pin(super::$fact(House::open(Door::InProcess).await)).await;
            })+
        }

        mod over_grpc {
            use crate::support::{Door, House};

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fact() {
                Box::pin(super::$fact(House::open(Door::OverGrpc).await)).await;
            })+
        }
    };
}

mod access;
mod breaks;
mod conditions;
mod contents;
mod credentials;
mod events;
mod files;
mod leases;
mod parts;
mod policy;
mod release;
mod rules;
mod runs;
mod uploads;
mod users;
