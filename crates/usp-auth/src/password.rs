//! Passwords: Argon2id, with the same cost for a user that does not exist.
//!
//! Each call takes about 25 ms and 19 MiB: callers run it on a bounded pool.

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use usp_model::{Error, ErrorKind, Result};
use zeroize::Zeroizing;

use crate::secret::fill_random;

/// NIST SP 800-63B's floor for a password that a person chose.
pub const PASSWORD_BYTES_MIN: usize = 8;
/// Longer than any passphrase; bounds what a stranger can make us hash.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// OWASP's smallest recommended setting of Argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// A stored hash that asks for more than this was not written by us; it is refused, not computed.
const MEMORY_KIB_MAX: u32 = 4 * MEMORY_KIB;
const PASSES_MAX: u32 = 4 * PASSES;

/// The hash of a password that was thrown away, with the parameters above; a test keeps them equal.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$P7iPdprPQlg2bLdEdZr+Gw$fhy6pbsUHNNqOEwt8TrwFP5z5ABKIPoBuusTQfeVW8o";

/// Hashes a new password under a salt of its own, as a PHC string.
///
/// Shape: `password` has 8..=1,024 bytes. Errors: `InvalidInput`, `Internal`.
pub fn hash_password(password: &str) -> Result<String> {
    if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
        return Err(Error::new(ErrorKind::InvalidInput, "hash password").because(format!(
            "a password has {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes, not {}",
            password.len()
        )));
    }
    let hash = hasher()?.hash_password(password.as_bytes()).map_err(internal)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one behind `hash`. A hash that cannot be read matches nothing.
pub fn verify_password(password: &str, hash: &str) -> bool {
    if password.len() > PASSWORD_BYTES_MAX {
        return false;
    }
    let (Ok(hasher), Ok(hash)) = (hasher(), PasswordHash::new(hash)) else {
        return false;
    };
    is_affordable(&hash) && hasher.verify_password(password.as_bytes(), &hash).is_ok()
}

/// Costs what [`verify_password`] costs and never succeeds: the answer to a user that does not exist.
pub fn dummy_verify(password: &str) {
    std::hint::black_box(verify_password(password, DUMMY_HASH));
}

/// A password for a first start or a reset: five groups of five, without letters that look alike.
///
/// Shape: 29 characters, 123 bits. Errors: `Internal` when the system has no random source.
pub fn random_password() -> Result<String> {
    const LETTERS: &[u8] = b"abcdefghjkmnpqrstuvwxyz23456789";
    const LETTER_COUNT: usize = 25;
    let mut letters = Vec::with_capacity(LETTER_COUNT);
    let mut bytes = Zeroizing::new([0; 64]);
    while letters.len() < LETTER_COUNT {
        fill_random(bytes.as_mut())?;
        // Five bits pick one of 31 letters; the 32nd value is drawn again, so that all are equally likely.
        letters.extend(bytes.iter().filter_map(|byte| LETTERS.get(usize::from(byte & 31))).copied());
    }
    letters.truncate(LETTER_COUNT);
    let groups: Vec<_> = letters.chunks(5).map(String::from_utf8_lossy).collect();
    Ok(groups.join("-"))
}

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(internal)?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

fn is_affordable(hash: &PasswordHash) -> bool {
    hash.algorithm.as_str() == Algorithm::Argon2id.as_str()
        && Params::try_from(hash).is_ok_and(|params| {
            params.m_cost() <= MEMORY_KIB_MAX && params.t_cost() <= PASSES_MAX && params.p_cost() <= LANES
        })
}

fn internal(source: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Internal, "hash password").caused_by(source.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_password_matches_its_own_hash_only() {
        let hash = hash_password("correct horse").unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(verify_password("correct horse", &hash));
        assert!(!verify_password("correct horsE", &hash));
        assert_ne!(hash_password("correct horse").unwrap(), hash, "each hash has its own salt");
    }

    #[test]
    fn passwords_have_8_to_1024_bytes() {
        for password in ["", "1234567", &"a".repeat(1025)] {
            assert_eq!(hash_password(password).unwrap_err().kind(), ErrorKind::InvalidInput);
        }
        let longest = "a".repeat(1024);
        assert!(verify_password(&longest, &hash_password(&longest).unwrap()));
        assert!(hash_password("12345678").is_ok());
    }

    #[test]
    fn a_hash_that_is_broken_foreign_or_too_dear_matches_nothing() {
        let hash = hash_password("correct horse").unwrap();
        for other in [
            String::new(),
            "plain".to_owned(),
            hash.replace("argon2id", "argon2i"),
            hash.replace("m=19456", "m=4194304"),
            hash.replace("t=2", "t=4000000"),
            hash.replace("p=1", "p=255"),
            hash.rsplit_once('$').unwrap().0.to_owned(),
        ] {
            assert!(!verify_password("correct horse", &other), "{other}");
        }
    }

    #[test]
    fn an_unknown_user_costs_what_a_known_one_costs() {
        let dummy = PasswordHash::new(DUMMY_HASH).unwrap();
        let real = PasswordHash::new(&hash_password("correct horse").unwrap()).unwrap();
        assert_eq!(dummy.params, real.params);
        assert_eq!(dummy.version, real.version);
        assert_eq!(dummy.algorithm, real.algorithm);
        assert!(is_affordable(&dummy), "or the dummy would return at once");
        dummy_verify("anything");
    }

    #[test]
    fn random_passwords_are_long_unambiguous_and_different() {
        let passwords: HashSet<_> = (0..100).map(|_| random_password().unwrap()).collect();
        assert_eq!(passwords.len(), 100);
        for password in passwords {
            assert_eq!(password.len(), 29);
            assert!(!password.contains(['0', '1', 'i', 'l', 'o', 'O', 'I']), "{password}");
        }
    }
}
