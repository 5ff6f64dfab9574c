//! Decisions: may this caller do that, there? Deny unless a grant says otherwise.
//!
//! [`allows`] is the one function in which a role, a permission and a bucket meet. Everything else here asks it.

use std::collections::BTreeMap;

use usp_model::{BucketName, Error, ErrorKind, Grant, Principal, PrincipalKind, Result, Role};

use crate::permission::{Need, Permission};

/// Decides what grants allow: whether `principal` holds `permission` in `bucket`.
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

/// Passes a caller that [`allows`] allows; the refusal reveals no more than the caller may know.
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

/// Passes a caller that holds `permission` in at least one bucket, before the bucket at hand is known.
///
/// Errors: `Denied`. A caller that passes may still be refused where it goes: [`authorize`] decides that.
pub fn authorize_somewhere(principal: &Principal, permission: Permission) -> Result<()> {
    let named = principal.grants.iter().filter_map(|grant| grant.bucket.as_ref()).map(Some);
    if std::iter::once(None).chain(named).any(|bucket| allows(principal, permission, bucket)) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Denied, "authorize")
        .about(permission)
        .because(format!("no grant of yours includes {permission}; ask an administrator for one")))
}

/// The answer for a bucket that does not exist. One constructor, so that a foreign bucket and an absent one are the
/// same bytes to the caller.
pub fn absent_bucket(bucket: &BucketName) -> Error {
    Error::new(ErrorKind::NotFound, "find bucket")
        .about(bucket)
        .because(format!("there is no bucket '{bucket}'"))
}

/// The buckets in which a caller holds a permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketScope {
    /// Every bucket, also those that are made later.
    All,
    /// Sorted, without repetition; empty shows nothing.
    Only(Vec<BucketName>),
}

impl BucketScope {
    /// Whether a list may show what is in `bucket`.
    pub fn contains(&self, bucket: &BucketName) -> bool {
        match self {
            Self::All => true,
            Self::Only(buckets) => buckets.binary_search(bucket).is_ok(),
        }
    }
}

/// Narrows a list to the buckets in which `principal` holds `permission`.
///
/// Shape: a permission that needs no grant ([`Need::AnyCaller`]) shows no bucket: everyone holds it.
pub fn visible_buckets(principal: &Principal, permission: Permission) -> BucketScope {
    if permission.need() == Need::AnyCaller {
        return BucketScope::Only(Vec::new());
    }
    if allows(principal, permission, None) {
        return BucketScope::All;
    }
    let named = principal.grants.iter().filter_map(|grant| grant.bucket.as_ref());
    let mut buckets: Vec<_> =
        named.filter(|bucket| allows(principal, permission, Some(bucket))).cloned().collect();
    buckets.sort_unstable();
    buckets.dedup();
    BucketScope::Only(buckets)
}

/// Lists what `principal` holds and where, for the caller's own eyes (`GET /me`).
///
/// Shape: in the order of [`Permission::ALL`], without those held nowhere.
pub fn held_permissions(principal: &Principal) -> Vec<(Permission, BucketScope)> {
    let scope = |permission| {
        if allows(principal, permission, None) {
            BucketScope::All
        } else {
            visible_buckets(principal, permission)
        }
    };
    let all = Permission::ALL.iter().map(|permission| (*permission, scope(*permission)));
    all.filter(|(_, scope)| *scope != BucketScope::Only(Vec::new())).collect()
}

/// Narrows a credential with grants of its own: it never allows more than its user may do at the time of use.
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
