//! Keys of idempotency: a request that is sent again within a day answers with what the first one made.

use usp_model::{ContentDigests, DigestAlgorithm, Error, ErrorKind, File, Result, Timestamp};

use crate::commit::NewVersion;

/// One day, as clients of such keys expect.
const LIFE_MS: i64 = 24 * 60 * 60 * 1_000;

/// Keys that were used at this time or before count no more.
pub fn forgotten_until(now: Timestamp) -> Timestamp {
    now.plus_ms(-LIFE_MS)
}

/// Whether a key that was used at `used_at` still answers.
pub fn is_remembered(used_at: Timestamp, now: Timestamp) -> bool {
    used_at > forgotten_until(now)
}

/// Whether what the key made is what is sent now. Errors: `Conflict` when it was used for another bucket, key or content.
pub fn check_replay(new: &NewVersion, made: &File) -> Result<()> {
    let refused =
        |reason| Err(Error::new(ErrorKind::Conflict, "commit version").about(&new.key).because(reason));
    if made.bucket != new.bucket || made.key != new.key {
        return refused(format!(
            "the idempotency key was used for {}/{}; send a new one",
            made.bucket, made.key
        ));
    }
    if sha256(&made.digests) != sha256(&new.digests) {
        let reason = "the idempotency key was used for another content; send a new one with every content";
        return refused(reason.to_owned());
    }
    Ok(())
}

fn sha256(digests: &ContentDigests) -> Option<&String> {
    digests.get(&DigestAlgorithm::Sha256)
}

#[cfg(test)]
mod tests {
    use usp_model::{BucketName, FileKey};

    use super::*;
    use crate::commit::tests::new_version;
    use crate::testing::{digests, file};

    #[test]
    fn a_key_answers_for_a_day() {
        let now = Timestamp::from_unix_ms(10 * LIFE_MS);
        for (age_ms, remembered) in [(0, true), (LIFE_MS - 1, true), (LIFE_MS, false), (LIFE_MS + 1, false)] {
            assert_eq!(is_remembered(now.plus_ms(-age_ms), now), remembered, "{age_ms}");
        }
        assert_eq!(LIFE_MS, 86_400_000);
    }

    #[test]
    fn a_key_is_good_for_one_bucket_key_and_content() {
        let made = file("a", 1);
        let same = new_version("a", 1);
        assert!(check_replay(&same, &made).is_ok());
        let others = [
            NewVersion { key: FileKey::parse("b").unwrap(), ..same.clone() },
            NewVersion { bucket: BucketName::parse("other").unwrap(), ..same.clone() },
            NewVersion { digests: digests(2), ..same.clone() },
            NewVersion { digests: ContentDigests::new(), ..same },
        ];
        for other in others {
            assert_eq!(check_replay(&other, &made).unwrap_err().kind(), ErrorKind::Conflict);
        }
    }
}
