//! What a bucket takes and holds.

use usp_model::{BucketName, BucketPolicy, DomainId, Error, ErrorKind, Result, StoredBytes};

/// A change of a bucket's sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageChange {
    pub file_count: i64,
    pub version_count: i64,
    /// Plain bytes of current versions.
    pub current_bytes: i64,
    /// Plain bytes of all versions.
    pub logical_bytes: i64,
    pub stored_bytes: i64,
    pub deduplicated_bytes: i64,
}

/// A count as sums are kept. Sizes are bounded far below the limit.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl UsageChange {
    /// One more version, which becomes the current one in place of one of `replaced_bytes`.
    pub fn of_commit(size_bytes: u64, stored: StoredBytes, replaced_bytes: Option<u64>) -> Self {
        Self {
            file_count: i64::from(replaced_bytes.is_none()),
            version_count: 1,
            current_bytes: signed(size_bytes) - signed(replaced_bytes.unwrap_or_default()),
            logical_bytes: signed(size_bytes),
            stored_bytes: signed(stored.bytes),
            deduplicated_bytes: signed(stored.deduplicated_bytes),
        }
    }

    /// One file less, whose current version had `current_bytes` and all of whose versions are `gone`.
    pub fn of_deletion(current_bytes: u64, gone: impl IntoIterator<Item = (u64, StoredBytes)>) -> Self {
        let none = Self { file_count: -1, current_bytes: -signed(current_bytes), ..Self::default() };
        gone.into_iter().fold(none, |sum, (size_bytes, stored)| Self {
            version_count: sum.version_count - 1,
            logical_bytes: sum.logical_bytes - signed(size_bytes),
            stored_bytes: sum.stored_bytes - signed(stored.bytes),
            deduplicated_bytes: sum.deduplicated_bytes - signed(stored.deduplicated_bytes),
            ..sum
        })
    }
}

/// The dedup domain that a new bucket belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DomainOf {
    /// That of this name, with all buckets that name it; made if there is none.
    Shared(String),
    /// One of its own, which goes with it.
    Own,
}

/// Which domain a bucket of this policy belongs to.
pub fn domain_of(policy: &BucketPolicy) -> DomainOf {
    policy.dedup_domain.clone().map_or(DomainOf::Own, DomainOf::Shared)
}

/// Whether so many bytes fit under a quota, in place of those that they replace.
///
/// `current_bytes`: what the bucket's current versions have now. Errors: `StorageFull`.
pub fn check_quota(
    bucket: &BucketName,
    quota_bytes: u64,
    current_bytes: u64,
    size_bytes: u64,
    replaced_bytes: u64,
) -> Result<()> {
    let after = current_bytes.saturating_sub(replaced_bytes).saturating_add(size_bytes);
    if after <= quota_bytes {
        return Ok(());
    }
    let reason =
        format!("bucket {bucket} would hold {after} of {quota_bytes} bytes; delete files or raise its quota");
    Err(Error::new(ErrorKind::StorageFull, "commit version").because(reason))
}

/// Whether a content whose chunks are named by the key of `named_by` belongs into a bucket of domain `domain`: otherwise the
/// bucket was deleted and made anew, and its readers could not prove them. Errors: `Conflict`.
pub fn check_domain(bucket: &BucketName, domain: DomainId, named_by: DomainId) -> Result<()> {
    if domain == named_by {
        return Ok(());
    }
    let other = Error::new(ErrorKind::Conflict, "store content").about(bucket);
    Err(other.because("the bucket was deleted and made anew while the content arrived; send it again"))
}

/// Whether a content of one bucket may be shared by another: chunks are named by the key of their domain.
///
/// Errors: `Conflict` when the domains differ.
pub fn check_shared(bucket: &BucketName, of_source: DomainId, of_target: DomainId) -> Result<()> {
    if of_source == of_target {
        return Ok(());
    }
    let other = Error::new(ErrorKind::Conflict, "share content").about(bucket);
    Err(other.because("the buckets are of different dedup domains; send the bytes instead"))
}

/// Whether a policy may take the place of another. Errors: `Conflict` when the dedup domain would change.
pub fn check_update(bucket: &BucketName, standing: &BucketPolicy, new: &BucketPolicy) -> Result<()> {
    if standing.dedup_domain == new.dedup_domain {
        return Ok(());
    }
    let fixed = Error::new(ErrorKind::Conflict, "update bucket").about(bucket);
    let reason = "the dedup domain of a bucket is fixed when it is made; make a new bucket instead";
    Err(fixed.because(reason))
}

/// Whether a bucket may go. Errors: `Conflict` while files or open uploads are in it.
pub fn check_deletion(bucket: &BucketName, has_files: bool, has_open_uploads: bool) -> Result<()> {
    if !has_files && !has_open_uploads {
        return Ok(());
    }
    let busy = Error::new(ErrorKind::Conflict, "delete bucket").about(bucket);
    Err(busy.because("files or open uploads are in the bucket; delete them first"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> BucketName {
        BucketName::parse("default").unwrap()
    }

    #[test]
    fn a_quota_is_what_current_versions_may_have() {
        //           quota, now, new, replaced
        let table = [
            (100, 0, 100, 0, true),
            (100, 0, 101, 0, false),
            (100, 60, 40, 0, true),
            (100, 60, 41, 0, false),
            (100, 60, 70, 30, true),
            (100, 60, 71, 30, false),
            (100, 10, 100, 30, true),
            (u64::MAX, u64::MAX, 1, 0, true),
            (0, 0, 0, 0, true),
        ];
        for (quota, now, new, replaced, fits) in table {
            let checked = check_quota(&bucket(), quota, now, new, replaced);
            assert_eq!(checked.is_ok(), fits, "{quota} {now} {new} {replaced}");
            assert!(checked.err().is_none_or(|error| error.kind() == ErrorKind::StorageFull));
        }
    }

    #[test]
    fn sums_after_a_commit_and_after_a_deletion() {
        let stored = StoredBytes { bytes: 70, chunks: 2, deduplicated_bytes: 5 };
        let first = UsageChange::of_commit(100, stored, None);
        let expected = UsageChange {
            file_count: 1,
            version_count: 1,
            current_bytes: 100,
            logical_bytes: 100,
            stored_bytes: 70,
            deduplicated_bytes: 5,
        };
        assert_eq!(first, expected);
        let second = UsageChange::of_commit(30, StoredBytes::default(), Some(100));
        assert_eq!((second.file_count, second.version_count), (0, 1));
        assert_eq!((second.current_bytes, second.logical_bytes), (-70, 30));
        let gone = UsageChange::of_deletion(30, [(100, stored), (30, StoredBytes::default())]);
        let expected = UsageChange {
            file_count: -1,
            version_count: -2,
            current_bytes: -30,
            logical_bytes: -130,
            stored_bytes: -70,
            deduplicated_bytes: -5,
        };
        assert_eq!(gone, expected);
    }

    #[test]
    fn a_content_belongs_into_the_domain_that_named_its_chunks() {
        assert!(check_domain(&bucket(), DomainId(1), DomainId(1)).is_ok());
        let other = check_domain(&bucket(), DomainId(1), DomainId(2)).unwrap_err();
        assert_eq!(other.kind(), ErrorKind::Conflict);
        assert!(check_shared(&bucket(), DomainId(1), DomainId(1)).is_ok());
        assert_eq!(
            check_shared(&bucket(), DomainId(1), DomainId(2)).unwrap_err().kind(),
            ErrorKind::Conflict
        );
    }

    #[test]
    fn a_policy_keeps_the_dedup_domain() {
        let policy = |domain: Option<&str>, versioned| BucketPolicy {
            dedup_domain: domain.map(str::to_owned),
            quota_bytes: versioned,
            ..BucketPolicy::default()
        };
        let table = [
            (policy(None, None), policy(None, Some(1)), true),
            (policy(Some("a"), None), policy(Some("a"), Some(1)), true),
            (policy(Some("a"), None), policy(Some("b"), None), false),
            (policy(Some("a"), None), policy(None, None), false),
            (policy(None, None), policy(Some("a"), None), false),
        ];
        for (standing, new, may) in table {
            let checked = check_update(&bucket(), &standing, &new);
            assert_eq!(checked.is_ok(), may, "{standing:?} {new:?}");
        }
    }

    #[test]
    fn a_bucket_has_a_domain_of_its_own_unless_it_names_one() {
        assert_eq!(domain_of(&BucketPolicy::default()), DomainOf::Own);
        let named = BucketPolicy { dedup_domain: Some("d".to_owned()), ..BucketPolicy::default() };
        assert_eq!(domain_of(&named), DomainOf::Shared("d".to_owned()));
    }

    #[test]
    fn a_bucket_goes_only_when_it_is_empty() {
        for (files, uploads) in [(true, false), (false, true), (true, true)] {
            let busy = check_deletion(&bucket(), files, uploads).unwrap_err();
            assert_eq!(busy.kind(), ErrorKind::Conflict);
        }
        assert!(check_deletion(&bucket(), false, false).is_ok());
    }
}
