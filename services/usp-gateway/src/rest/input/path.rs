//! Path parameters: decoded once by the router, then checked by the model's own types, so that permission and storage
//! see one string.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use usp_model::{Error, ErrorKind, Result};

use crate::problem::Failure;

/// Path parameters as text: `String` or a tuple of them, in the order of the path.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(rejection) => Err(refused(rejection).into()),
        }
    }
}

pub(super) fn refused(rejection: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidInput, "read path")
        .because("the path is not UTF-8 once it is percent-decoded")
        .caused_by(rejection)
}
