//! Who may do what: tokens, keys, passwords, roles; no HTTP.
//!
//! Nothing here keeps state, reads a clock or waits: the time is an argument, the catalogue is the caller's. A request
//! passes through in three steps, the first in the gateway, the others in the storage service:
//!
//! 1. [`Credential::from_authorization`] parses the header value. Anything but one bearer token is `Unauthenticated`.
//! 2. [`TokenService::verify`] or [`ApiKeySecret::parse`] turns the credential into a name and, perhaps, grants. The
//!    caller looks up the user and narrows its grants with [`intersect`], which yields a `Principal`.
//! 3. [`authorize`] looks up the table in `permission.rs`. What the caller may not see is `NotFound`.
//!
//! Password hashing costs about 25 ms and 19 MiB by design: run it on a bounded pool.

mod api_key;
mod authorize;
mod credential;
mod key;
mod password;
mod permission;
mod refresh;
mod secret;
mod token;
mod trusted;

pub use api_key::ApiKeySecret;
pub use authorize::{
    BucketScope, absent_bucket, allows, authorize, authorize_somewhere, held_permissions, intersect,
    visible_buckets,
};
pub use credential::{CREDENTIAL_BYTES_MAX, Credential};
pub use key::{NODE_CREDENTIAL_PREFIX, SigningKeys};
pub use password::{
    PASSWORD_BYTES_MAX, PASSWORD_BYTES_MIN, dummy_verify, hash_password, random_password, verify_password,
};
pub use permission::{Need, Permission};
pub use refresh::RefreshToken;
pub use secret::SecretText;
pub use token::{LEEWAY_S_MAX, TRUSTED_COUNT_MAX, TokenConfig, TokenService, VerifiedToken};
pub use trusted::{HMAC_SECRET_BYTES_MIN, TokenAlgorithm, TrustedIssuer};
