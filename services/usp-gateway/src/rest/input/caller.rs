//! The caller of a request.

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use usp_api::Caller;
use usp_auth::{Need, Permission, authorize};
use usp_model::{BucketName, Error, ErrorKind, Principal, Result};

use crate::Gateway;
use crate::dialect::Dialect;
use crate::presented::Presented;
use crate::problem::Failure;
use crate::request::{self, Head};
use crate::rest::RestDialect;

/// The caller of a route that takes a permission.
#[derive(Debug)]
pub(crate) struct By(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    /// Errors: `Unauthenticated` on a route that the table calls public: no credential was proven there.
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        Signed::from_request_parts(parts, state).await.map(|signed| Self(signed.caller))
    }
}

/// The caller with the credential that proved it, for streams that prove it again while they last.
#[derive(Debug, Clone)]
pub(crate) struct Signed {
    pub(crate) caller: Caller,
    pub(crate) presented: Presented,
}

impl<S: Send + Sync> FromRequestParts<S> for Signed {
    type Rejection = Failure;

    /// Errors: as of [`By`].
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        match parts.extensions.get::<Self>() {
            Some(signed) => Ok(signed.clone()),
            None => Err(Error::new(ErrorKind::Unauthenticated, "name caller").into()),
        }
    }
}

/// Stands before every route that takes a permission: proves the caller and refuses what can be refused without
/// storage.
pub(crate) async fn require(
    State((gateway, permission)): State<(Gateway, Permission)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let request_id = request::id::ensure(request.extensions_mut());
    let presented = RestDialect.present(Head::of(&request))?;
    let caller = gateway.authenticator.authenticate(&presented, &request_id).await?;
    let (mut parts, body) = request.into_parts();
    let bucket = bucket_of_path(&mut parts).await?;
    refuse_early(&caller.principal, permission, bucket.as_ref())?;
    parts.extensions.insert(Signed { caller, presented });
    Ok(next.run(Request::from_parts(parts, body)).await)
}

/// A permission in a bucket is decided here only when the path names the bucket. Ids say nothing about their bucket,
/// and a foreign one must look absent, which only storage can tell.
fn refuse_early(principal: &Principal, permission: Permission, bucket: Option<&BucketName>) -> Result<()> {
    match permission.need() {
        Need::InBucket(_) if bucket.is_none() => Ok(()),
        Need::InBucket(_) | Need::AnyCaller | Need::Everywhere(_) | Need::ServiceOnly => {
            authorize(principal, permission, bucket)
        }
    }
}

async fn bucket_of_path(parts: &mut Parts) -> Result<Option<BucketName>> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(params) => {
            let bucket = params.iter().find(|(name, _)| *name == "bucket");
            bucket.map(|(_, name)| BucketName::parse(name)).transpose()
        }
        Err(rejection) => Err(super::path::refused(rejection)),
    }
}
