//! Who may see what: the rules about visibility, apart from where the objects are found.
//!
//! Each part looks its objects up through its own `for_caller`, which asks these rules: there is no other way to an object.

use usp_api::Caller;
use usp_auth::{BucketScope, Permission, allows, visible_buckets};
use usp_model::{BucketName, Error, ErrorKind, File, FileRef, PrincipalKind, Upload};

/// Whether a file that waits for its release shows itself: to those who may write there, and to workers.
pub(crate) fn may_see(caller: &Caller, file: &File) -> bool {
    file.released || sees_unreleased(caller, &file.bucket)
}

/// Whether files of the bucket that wait for their release, and their runs and events, are shown to the caller.
pub(crate) fn sees_unreleased(caller: &Caller, bucket: &BucketName) -> bool {
    caller.principal.kind == PrincipalKind::Service
        || allows(&caller.principal, Permission::FileWrite, Some(bucket))
}

/// Whether content that waits for its release may be read: by workers, and by those who manage the bucket.
pub(crate) fn may_read_content(caller: &Caller, file: &File) -> bool {
    file.released
        || caller.principal.kind == PrincipalKind::Service
        || allows(&caller.principal, Permission::BucketManage, Some(&file.bucket))
}

/// Whether the upload is the caller's own, or the caller manages its bucket.
pub(crate) fn may_change(caller: &Caller, upload: &Upload) -> bool {
    let writes = allows(&caller.principal, Permission::FileWrite, Some(&upload.bucket));
    let owns = caller.principal.name.as_str() == upload.owner;
    writes && (owns || allows(&caller.principal, Permission::BucketManage, Some(&upload.bucket)))
}

/// The buckets that a list may show: `None` for all.
pub(crate) fn scope(caller: &Caller, permission: Permission) -> Option<Vec<BucketName>> {
    match visible_buckets(&caller.principal, permission) {
        BucketScope::All => None,
        BucketScope::Only(buckets) => Some(buckets),
    }
}

/// The error, or the given one in place of `NotFound`: what is absent must answer word for word like what is foreign.
pub(crate) fn absent(error: Error, with: impl FnOnce() -> Error) -> Error {
    if error.kind() == ErrorKind::NotFound { with() } else { error }
}

/// One wording for absent and for foreign.
pub(crate) fn absent_file(file: &FileRef) -> Error {
    Error::new(ErrorKind::NotFound, "find file").because(match file {
        FileRef::Id(_) => "there is no such file".to_owned(),
        FileRef::Key(bucket, key) => format!("there is no file '{key}' in bucket '{bucket}'"),
    })
}
