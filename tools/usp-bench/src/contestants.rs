//! The servers.

pub(crate) mod nginx;
pub(crate) mod s3;
pub(crate) mod tus;
pub(crate) mod usp;

use crate::contestant::Contestant;

/// Every server, usp first: ratios are to the first of a table.
pub(crate) const ALL: &[&dyn Contestant] = &[
    &usp::Usp,
    &nginx::Nginx,
    &tus::Rustus { synced: false },
    &tus::Rustus { synced: true },
    &tus::TusServer,
    &s3::S3sFs,
    &s3::Garage { synced: false },
    &s3::Garage { synced: true },
];
