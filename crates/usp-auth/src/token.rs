//! Access tokens: JWTs that we sign with Ed25519, and those of issuers that the operator trusts.
//!
//! A token is checked in this order; every failure gives the same answer, except expiry:
//!
//! 1. Size, then shape: three parts, a header with known fields only (`token/header.rs`).
//! 2. Keys: those of the configuration whose algorithm and kid the header names. The header never brings a key, a
//!    place to fetch one, or an algorithm that the key was not made for.
//! 3. Signature, by jsonwebtoken. Until here nothing of the payload was looked at.
//! 4. Claims (`token/claims.rs`): types, issuer, audience, subject, then times against the caller's clock.

mod claims;
mod header;

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use usp_model::{Error, ErrorKind, Grant, Result, Timestamp, UserName, Violation};

use self::claims::{Claims, OwnClaims};
use self::header::TokenHeader;
use crate::credential::CREDENTIAL_BYTES_MAX;
use crate::secret::fill_random;
use crate::{SigningKeys, TokenAlgorithm, TrustedIssuer};

/// Clocks of one installation differ by less; RFC 8725 asks for "no more than a few minutes".
pub const LEEWAY_S_MAX: u32 = 60;
/// Keys of other issuers. Each may cost one signature check per token.
pub const TRUSTED_COUNT_MAX: usize = 16;
/// A token cannot be revoked, so it does not live for ever: one year.
const TTL_S_MAX: u64 = 366 * 24 * 60 * 60;
/// RFC 9068: what keeps an access token apart from every other JWT that the same key may sign one day.
const OWN_TYP: &str = "at+jwt";

/// Sets what tokens are issued and accepted. [`TokenService::new`] checks it.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// Claim `iss` of our own tokens.
    pub issuer: String,
    /// Claim `aud` of our own tokens.
    pub audience: String,
    /// How long an access token is valid. Shape: 1 second to 1 year.
    pub access_ttl: Duration,
    /// How long a refresh token is valid. Shape: 1 second to 1 year.
    pub refresh_ttl: Duration,
    /// Difference between clocks that is tolerated, in both directions; at most [`LEEWAY_S_MAX`].
    pub leeway_s: u32,
    /// Keys of other issuers; at most [`TRUSTED_COUNT_MAX`].
    pub trusted: Vec<TrustedIssuer>,
}

impl Default for TokenConfig {
    fn default() -> Self {
        Self {
            issuer: "usp".to_owned(),
            audience: "usp".to_owned(),
            access_ttl: Duration::from_secs(15 * 60),
            refresh_ttl: Duration::from_secs(30 * 24 * 60 * 60),
            leeway_s: 30,
            trusted: Vec::new(),
        }
    }
}

/// What a token says that passed every check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// Whom the token is about.
    pub subject: UserName,
    /// `None`: whatever the user `subject` has now. `Some` for every token of another issuer, so that a foreign
    /// subject never borrows the grants of a local user of the same name.
    pub grants: Option<Vec<Grant>>,
    /// When the token stops being valid.
    pub expires_at: Timestamp,
    /// The id that the issuer gave the token. Shape: at most 128 bytes.
    pub jti: Option<String>,
    /// False for a token of a trusted issuer.
    pub issuer_is_own: bool,
}

/// Issues and verifies access tokens. Holds no state; share it freely.
pub struct TokenService {
    config: TokenConfig,
    signing: EncodingKey,
    header: Header,
    /// Our own key first.
    verifiers: Vec<Verifier>,
}

/// One key, and the conditions under which a token is checked with it.
struct Verifier {
    key: DecodingKey,
    kid: Option<String>,
    algorithm: Algorithm,
    validation: Validation,
    /// `None` for our own key.
    trusted: Option<TrustedIssuer>,
}

impl TokenService {
    /// Errors: `InvalidInput` with every problem of the configuration.
    pub fn new(keys: &SigningKeys, config: TokenConfig) -> Result<Self> {
        let mut violations = check(&config);
        let own = Verifier::new(
            DecodingKey::from_ed_der(keys.ed25519_public()),
            Some(keys.kid().to_owned()),
            TokenAlgorithm::EdDsa,
            (&config.issuer, &config.audience),
            None,
        );
        let mut verifiers = vec![own];
        for (index, trusted) in config.trusted.iter().enumerate() {
            match trusted.decoding_key() {
                Ok(key) => verifiers.push(Verifier::new(
                    key,
                    trusted.kid.clone(),
                    trusted.algorithm,
                    (&trusted.issuer, &trusted.audience),
                    Some(trusted.clone()),
                )),
                Err(problem) => violations.push(Violation::new(format!("/trusted/{index}/key"), problem)),
            }
        }
        if !violations.is_empty() {
            return Err(
                Error::new(ErrorKind::InvalidInput, "check token configuration").with_violations(violations)
            );
        }
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(OWN_TYP.to_owned());
        header.kid = Some(keys.kid().to_owned());
        Ok(Self { config, signing: EncodingKey::from_ed_der(keys.ed25519_pkcs8()), header, verifiers })
    }

    /// The configuration that the service was made with.
    pub fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// Signs an access token for `subject` that holds from `now` for `ttl`, in whole seconds.
    ///
    /// Shape: `grants: None` leaves the grants to be looked up at each use; `Some` narrows the token to these.
    /// Errors: `InvalidInput` for a `ttl` outside 1 second to 1 year, or more grants than 8 KiB can carry; `Internal`.
    pub fn issue(
        &self,
        subject: &UserName,
        grants: Option<Vec<Grant>>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<String> {
        let refused = |reason: &str| Error::new(ErrorKind::InvalidInput, "issue token").because(reason);
        let ttl_s = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        if !(1..=TTL_S_MAX).contains(&ttl.as_secs()) {
            return Err(refused("a token lives for 1 second to 1 year"));
        }
        let now_s = now.unix_ms() / 1000;
        let claims = OwnClaims {
            iss: &self.config.issuer,
            aud: &self.config.audience,
            sub: subject,
            iat: now_s,
            nbf: now_s,
            exp: now_s.saturating_add(ttl_s),
            jti: random_jti()?,
            grants,
        };
        let token = jsonwebtoken::encode(&self.header, &claims, &self.signing)
            .map_err(|source| Error::new(ErrorKind::Internal, "sign token").caused_by(source))?;
        if token.len() > CREDENTIAL_BYTES_MAX {
            return Err(refused(
                "these grants make the token longer than 8 KiB; grant fewer buckets, or all of them",
            ));
        }
        Ok(token)
    }

    /// Checks a presented token at the time `now`.
    ///
    /// Errors: `Unauthenticated`. The sentence for the caller tells "expired" from "not valid" and no more; the cause,
    /// for the log, names the gate and quotes nothing of the token.
    /// Source: RFC 7519, RFC 8725, RFC 9068.
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<VerifiedToken> {
        self.check(token, now).map_err(Refusal::into_error)
    }

    fn check(&self, token: &str, now: Timestamp) -> Result<VerifiedToken, Refusal> {
        let header = TokenHeader::read(token)?;
        let mut gate = "no configured key has the algorithm and kid of its header";
        for verifier in self.verifiers.iter().filter(|verifier| verifier.may_have_signed(&header)) {
            match jsonwebtoken::decode::<Claims>(token, &verifier.key, &verifier.validation) {
                Ok(decoded) => return verifier.accept(decoded.claims, self.config.leeway_s, now),
                Err(error) => gate = gate_of(&error),
            }
        }
        Err(Refusal::NotValid(gate))
    }
}

impl fmt::Debug for TokenService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Verifier {
    fn new(
        key: DecodingKey,
        kid: Option<String>,
        algorithm: TokenAlgorithm,
        (issuer, audience): (&str, &str),
        trusted: Option<TrustedIssuer>,
    ) -> Self {
        let mut validation = Validation::new(algorithm.as_jws());
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        // The library asks the system clock; ours is an argument and decides in `claims.rs`.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self { key, kid, algorithm: algorithm.as_jws(), validation, trusted }
    }

    fn may_have_signed(&self, header: &TokenHeader) -> bool {
        let typ_fits = match &self.trusted {
            None => header.is_typ(OWN_TYP),
            // Many issuers write the general type, or none.
            Some(_) => header.typ.is_none() || header.is_typ(OWN_TYP) || header.is_typ("JWT"),
        };
        let kid_fits = self.kid.is_none() || self.kid == header.kid;
        header.alg == self.algorithm && typ_fits && kid_fits
    }

    /// Accepts claims whose signature, issuer and audience were verified, if their times are valid, too.
    fn accept(&self, claims: Claims, leeway_s: u32, now: Timestamp) -> Result<VerifiedToken, Refusal> {
        claims.check_times(i64::from(leeway_s), now)?;
        let subject = claims.subject()?;
        let expires_at = claims.expires_at();
        let grants = match &self.trusted {
            None => claims.own_grants()?,
            Some(trusted) => Some(claims.foreign_grants(trusted)),
        };
        Ok(VerifiedToken {
            subject,
            grants,
            expires_at,
            jti: claims.jti,
            issuer_is_own: self.trusted.is_none(),
        })
    }
}

/// Why a token was refused. The text is for the log and is always ours.
#[derive(Debug)]
enum Refusal {
    Expired,
    NotValid(&'static str),
}

impl Refusal {
    fn into_error(self) -> Error {
        let error = Error::new(ErrorKind::Unauthenticated, "check token");
        match self {
            Self::Expired => error.because("the token has expired; log in again"),
            Self::NotValid(gate) => error.because("the token is not valid; log in again").caused_by(gate),
        }
    }
}

/// Names the failed check without the library's text, which may quote the token.
fn gate_of(error: &jsonwebtoken::errors::Error) -> &'static str {
    use jsonwebtoken::errors::ErrorKind as Jwt;
    match error.kind() {
        Jwt::InvalidSignature => "its signature does not hold",
        Jwt::InvalidIssuer => "its issuer is not the one that the key belongs to",
        Jwt::InvalidAudience => "it is meant for another audience",
        Jwt::MissingRequiredClaim(_) => "a required claim is missing or has the wrong type",
        Jwt::Json(_) => "a claim has the wrong type",
        // The library's list is open; the words do not reach the caller, so one is enough for the rest.
        _ => "it is not a well-formed JWT",
    }
}

fn check(config: &TokenConfig) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut demand = |holds: bool, pointer: &str, detail: &str| {
        if !holds {
            violations.push(Violation::new(pointer, detail));
        }
    };
    let ttl_fits = |ttl: Duration| (1..=TTL_S_MAX).contains(&ttl.as_secs());
    demand(!config.issuer.is_empty(), "/issuer", "name an issuer");
    demand(!config.audience.is_empty(), "/audience", "name an audience");
    demand(ttl_fits(config.access_ttl), "/access_ttl", "1 second to 1 year");
    demand(ttl_fits(config.refresh_ttl), "/refresh_ttl", "1 second to 1 year");
    demand(config.leeway_s <= LEEWAY_S_MAX, "/leeway_s", "at most 60 seconds");
    demand(config.trusted.len() <= TRUSTED_COUNT_MAX, "/trusted", "at most 16 keys of other issuers");
    for (index, trusted) in config.trusted.iter().enumerate() {
        let at = |field: &str| format!("/trusted/{index}/{field}");
        demand(!trusted.issuer.is_empty(), &at("issuer"), "name the issuer");
        demand(
            trusted.issuer != config.issuer,
            &at("issuer"),
            "our own name: its tokens would pass for ours",
        );
        demand(
            !trusted.audience.is_empty(),
            &at("audience"),
            "name the audience that its tokens carry for us",
        );
    }
    violations
}

fn random_jti() -> Result<String> {
    let mut bytes = [0; 16];
    fill_random(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
