//! Path parameters: decoded once by the router, then checked by the model's own types, so that permission and storage
//! see one string. The router leaves a `%` that begins no escape as it stands; here it is refused, since two readers
//! of such a path need not agree (RFC 3986, section 2.1).

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use usp_model::{Error, ErrorKind, FileId, Result};

use crate::problem::Failure;

/// Path parameters as text: `String` or a tuple of them, in the order of the path.
#[derive(Debug)]
pub(crate) struct At<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        if !has_sound_escapes(parts.uri.path()) {
            return Err(malformed().into());
        }
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(values)) => Ok(Self(values)),
            Err(rejection) => Err(refused(rejection).into()),
        }
    }
}

/// An id of a file. A malformed one answers like one that no file has. Errors: `NotFound`.
pub(crate) fn file_id(text: &str) -> Result<FileId> {
    FileId::parse(text)
        .map_err(|_none| Error::new(ErrorKind::NotFound, "find file").because("there is no such file"))
}

/// Whether every `%` is followed by two hexadecimal digits.
fn has_sound_escapes(path: &str) -> bool {
    path.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn malformed() -> Error {
    Error::new(ErrorKind::InvalidInput, "read path")
        .because("in a path each '%' is followed by two hexadecimal digits; '%' itself is written '%25'")
}

pub(super) fn refused(rejection: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::InvalidInput, "read path")
        .because("the path is not UTF-8 once it is percent-decoded")
        .caused_by(rejection)
}
