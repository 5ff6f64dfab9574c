//! Decisions: may this caller do that, there? Deny unless a grant says otherwise.

use std::collections::BTreeMap;

use usp_model::{BucketName, Error, ErrorKind, Grant, Principal, PrincipalKind, Result, Role};

use crate::permission::{Need, Permission};

/// Whether `principal` holds `permission` in `bucket`.
///
/// Shape: `bucket: None` asks about all buckets at once. Permissions that belong to no bucket ignore it.
pub fn allows(principal: &Principal, permission: Permission, bucket: Option<&BucketName>) -> bool {
    match permission.need() {
        Need::AnyCaller => true,
        Need::InBucket(least) => role_in(&principal.grants, bucket) >= Some(least),
        Need::Everywhere(least) => role_in(&principal.grants, None) >= Some(least),
        Need::ServiceOnly => principal.kind == PrincipalKind::Service,
    }
}

/// Passes whoever [`allows`] allows, and tells the others no more than they may know.
///
/// Errors: `NotFound` when the caller may not even read in that bucket, word for word as for a bucket that is absent
/// ([`absent_bucket`]); otherwise `Denied`, naming what is missing.
pub fn authorize(principal: &Principal, permission: Permission, bucket: Option<&BucketName>) -> Result<()> {
    if allows(principal, permission, bucket) {
        return Ok(());
    }
    let missing = match (permission.need(), bucket) {
        (Need::InBucket(_), Some(bucket)) if !allows(principal, Permission::BucketRead, Some(bucket)) => {
            return Err(absent_bucket(bucket));
        }
        (Need::InBucket(least), Some(bucket)) => format!("the role '{least}' in bucket '{bucket}'"),
        (Need::InBucket(least) | Need::Everywhere(least), _) => format!("the role '{least}' in all buckets"),
        (Need::ServiceOnly, _) => "the credential of a node of this installation".to_owned(),
        (Need::AnyCaller, _) => "a credential".to_owned(),
    };
    Err(Error::new(ErrorKind::Denied, "authorize")
        .about(permission)
        .because(format!("{permission} takes {missing}; ask an administrator for it")))
}

/// The answer for a bucket that does not exist. One constructor, so that a foreign bucket and an absent one are the
/// same bytes to the caller.
pub fn absent_bucket(bucket: &BucketName) -> Error {
    Error::new(ErrorKind::NotFound, "find bucket")
        .about(bucket)
        .because(format!("there is no bucket '{bucket}'"))
}

/// The buckets that a list may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketScope {
    All,
    /// Sorted, without repetition; empty shows nothing.
    Only(Vec<BucketName>),
}

impl BucketScope {
    pub fn contains(&self, bucket: &BucketName) -> bool {
        match self {
            Self::All => true,
            Self::Only(buckets) => buckets.binary_search(bucket).is_ok(),
        }
    }
}

/// Narrows a list to the buckets in which `principal` holds `permission`.
pub fn visible_buckets(principal: &Principal, permission: Permission) -> BucketScope {
    let least = match permission.need() {
        Need::InBucket(least) => least,
        Need::Everywhere(_) | Need::ServiceOnly if allows(principal, permission, None) => {
            return BucketScope::All;
        }
        // `self.read` opens no bucket: everyone holds it.
        Need::Everywhere(_) | Need::ServiceOnly | Need::AnyCaller => return BucketScope::Only(Vec::new()),
    };
    if role_in(&principal.grants, None) >= Some(least) {
        return BucketScope::All;
    }
    let strong_enough = principal.grants.iter().filter(|grant| grant.role >= least);
    let mut buckets: Vec<_> = strong_enough.filter_map(|grant| grant.bucket.clone()).collect();
    buckets.sort_unstable();
    buckets.dedup();
    BucketScope::Only(buckets)
}

/// What a credential with grants of its own may do: never more than its user may at the time of use.
///
/// Shape: at most one grant per bucket, all-bucket grant first, then by name.
pub fn intersect(user: &[Grant], key: &[Grant]) -> Vec<Grant> {
    let mut strongest: BTreeMap<Option<&BucketName>, Role> = BTreeMap::new();
    for (user, key) in user.iter().flat_map(|user| key.iter().map(move |key| (user, key))) {
        let bucket = match (&user.bucket, &key.bucket) {
            (Some(a), Some(b)) if a != b => continue,
            (Some(bucket), _) | (None, Some(bucket)) => Some(bucket),
            (None, None) => None,
        };
        let role = user.role.min(key.role);
        strongest.entry(bucket).and_modify(|known| *known = role.max(*known)).or_insert(role);
    }
    let everywhere = strongest.get(&None).copied();
    let adds = |(bucket, role): &(Option<&BucketName>, Role)| bucket.is_none() || Some(*role) > everywhere;
    strongest.into_iter().filter(adds).map(|(bucket, role)| Grant { bucket: bucket.cloned(), role }).collect()
}

/// The strongest role in `bucket`, counting grants in all buckets; for `None` those alone.
fn role_in(grants: &[Grant], bucket: Option<&BucketName>) -> Option<Role> {
    let covers = |grant: &&Grant| grant.bucket.is_none() || grant.bucket.as_ref() == bucket;
    grants.iter().filter(covers).map(|grant| grant.role).max()
}
