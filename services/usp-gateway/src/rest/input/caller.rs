//! Who asks.

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use usp_api::Caller;
use usp_auth::{Need, Permission, authorize};
use usp_model::{BucketName, Error, ErrorKind, Principal, Result};

use crate::Gateway;
use crate::problem::Failure;
use crate::rest::request_id;

/// The caller of a route that takes a permission.
#[derive(Debug)]
pub(crate) struct By(pub(crate) Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Failure;

    /// Errors: `Unauthenticated` on a route that the table calls public: nobody was asked for a credential there.
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failure> {
        match parts.extensions.get::<Caller>() {
            Some(caller) => Ok(Self(caller.clone())),
            None => Err(Error::new(ErrorKind::Unauthenticated, "name caller").into()),
        }
    }
}

/// Stands before every route that takes a permission: verifies the credential and refuses what no look at storage is
/// needed for.
pub(crate) async fn require(
    State((gateway, permission)): State<(Gateway, Permission)>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let request_id = request_id::ensure(request.extensions_mut());
    let caller = gateway.authenticator.authenticate(authorization(&request)?, &request_id).await?;
    let (mut parts, body) = request.into_parts();
    let bucket = bucket_of_path(&mut parts).await?;
    refuse_early(&caller.principal, permission, bucket.as_ref())?;
    parts.extensions.insert(caller);
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

/// Two credentials in one request are none: nobody could say which one was meant.
fn authorization(request: &Request) -> Result<Option<&str>> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (None, _) => Ok(None),
        (Some(Ok(value)), None) => Ok(Some(value)),
        _ => Err(Error::new(ErrorKind::Unauthenticated, "read credential")
            .because("send one Authorization header in ASCII")),
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
