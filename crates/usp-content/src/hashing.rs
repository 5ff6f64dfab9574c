//! Digests of a whole content, updated in stream order; the state of the SHA-256 can be saved and restored.

use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use usp_model::{ContentDigests, DigestAlgorithm, Error, ErrorKind, Result, ResumePoint};

/// Format of a resume point's state: docs/formats/manifest.md, "Resume point".
const STATE_FORMAT: u8 = 1;

/// The digests of one content while its bytes arrive.
#[derive(Debug, Clone)]
pub(crate) struct ContentHasher {
    sha256: Sha256,
    /// Only of contents hashed in one go: their states cannot be saved.
    others: Vec<Other>,
}

#[derive(Debug, Clone)]
enum Other {
    Sha512(Sha512),
    Blake3(Box<blake3::Hasher>),
    Md5(md5::Md5),
    Crc32c(crc_fast::Digest),
}

impl ContentHasher {
    /// Errors: `Corrupt` when the resume point is none that `resume_point` made.
    pub(crate) fn new(algorithms: &[DigestAlgorithm], resume: &ResumePoint) -> Result<Self> {
        if *resume == ResumePoint::default() {
            let mut algorithms = algorithms.to_vec();
            algorithms.sort_unstable();
            algorithms.dedup();
            return Ok(Self {
                sha256: Sha256::new(),
                others: algorithms.into_iter().filter_map(Other::new).collect(),
            });
        }
        let sha256 = read_state(resume).ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "resume upload")
                .because("the saved state of the upload is damaged")
        })?;
        Ok(Self { sha256, others: Vec::new() })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        for other in &mut self.others {
            match other {
                Other::Sha512(hasher) => hasher.update(bytes),
                Other::Blake3(hasher) => {
                    hasher.update(bytes);
                }
                Other::Md5(hasher) => hasher.update(bytes),
                Other::Crc32c(hasher) => hasher.update(bytes),
            }
        }
    }

    /// What continues here, with the bytes after the last boundary.
    pub(crate) fn resume_point(&self, tail: &[u8]) -> ResumePoint {
        let mut state = vec![STATE_FORMAT];
        state.extend_from_slice(&self.sha256.serialize());
        let crc = state_crc(&state, tail);
        state.extend_from_slice(&crc.to_le_bytes());
        ResumePoint { tail: tail.to_vec(), sha256_state: state }
    }

    pub(crate) fn finish(self) -> ContentDigests {
        let mut digests = ContentDigests::new();
        digests.insert(DigestAlgorithm::Sha256, hex::encode(self.sha256.finalize()));
        for other in self.others {
            let (algorithm, text) = match other {
                Other::Sha512(hasher) => (DigestAlgorithm::Sha512, hex::encode(hasher.finalize())),
                Other::Blake3(hasher) => (DigestAlgorithm::Blake3, hex::encode(hasher.finalize().as_bytes())),
                Other::Md5(hasher) => (DigestAlgorithm::Md5, hex::encode(hasher.finalize())),
                Other::Crc32c(hasher) => (DigestAlgorithm::Crc32c, format!("{:08x}", hasher.finalize())),
            };
            digests.insert(algorithm, text);
        }
        digests
    }
}

impl Other {
    fn new(algorithm: DigestAlgorithm) -> Option<Self> {
        match algorithm {
            DigestAlgorithm::Sha256 => None,
            DigestAlgorithm::Sha512 => Some(Self::Sha512(Sha512::new())),
            DigestAlgorithm::Blake3 => Some(Self::Blake3(Box::default())),
            DigestAlgorithm::Md5 => Some(Self::Md5(md5::Md5::new())),
            DigestAlgorithm::Crc32c => {
                Some(Self::Crc32c(crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi)))
            }
        }
    }
}

fn read_state(resume: &ResumePoint) -> Option<Sha256> {
    let (body, crc) = resume.sha256_state.split_last_chunk::<4>()?;
    if state_crc(body, &resume.tail) != u32::from_le_bytes(*crc) {
        return None;
    }
    let state = body.strip_prefix(&[STATE_FORMAT])?;
    let state = SerializedState::<Sha256>::try_from(state).ok()?;
    Sha256::deserialize(&state).ok()
}

/// Over the state and then the tail, so that a flipped bit in either is found before bytes are built on it.
fn state_crc(state: &[u8], tail: &[u8]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(state);
    digest.update(tail);
    // CRC-32C is 32 bits wide; the crate answers in 64.
    u32::try_from(digest.finalize()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[DigestAlgorithm] = DigestAlgorithm::ALL;

    #[test]
    fn digests_are_those_of_the_standards() {
        let mut hasher = ContentHasher::new(ALL, &ResumePoint::default()).unwrap();
        hasher.update(b"123");
        hasher.update(b"456789");
        let digests = hasher.finish();
        let of = |algorithm| digests[&algorithm].as_str();
        assert_eq!(of(DigestAlgorithm::Crc32c), "e3069283");
        assert_eq!(of(DigestAlgorithm::Md5), "25f9e794323b453885f5181f1b624d0b");
        assert_eq!(
            of(DigestAlgorithm::Sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert!(of(DigestAlgorithm::Sha512).starts_with("d9e6762dd1c8eaf6d61b3c6192fc408d"));
        assert_eq!(of(DigestAlgorithm::Blake3), blake3::hash(b"123456789").to_hex().as_str());
    }

    #[test]
    fn a_resumed_sha256_equals_one_in_one_go() {
        for split in [0, 1, 63, 64, 65, 1000] {
            let bytes = vec![9; 1000];
            let mut first = ContentHasher::new(ALL, &ResumePoint::default()).unwrap();
            first.update(&bytes[..split]);
            let resume = first.resume_point(&bytes[..split.min(10)]);
            let mut second = ContentHasher::new(ALL, &resume).unwrap();
            second.update(&bytes[split..]);
            let digests = second.finish();
            assert_eq!(digests.len(), 1, "digests that cannot be resumed are left out");
            assert_eq!(digests[&DigestAlgorithm::Sha256], hex::encode(Sha256::digest(&bytes)));
        }
    }

    #[test]
    fn every_flipped_bit_of_a_resume_point_is_detected() {
        let mut hasher = ContentHasher::new(&[], &ResumePoint::default()).unwrap();
        hasher.update(b"some bytes");
        let resume = hasher.resume_point(b"bytes");
        for bit in 0..(resume.sha256_state.len() + resume.tail.len()) * 8 {
            let mut damaged = resume.clone();
            let ResumePoint { tail, sha256_state } = &mut damaged;
            let byte = sha256_state.iter_mut().chain(tail.iter_mut()).nth(bit / 8).unwrap();
            *byte ^= 1 << (bit % 8);
            assert_eq!(ContentHasher::new(&[], &damaged).unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn version_1_state_stays_readable() {
        let mut hasher = ContentHasher::new(&[], &ResumePoint::default()).unwrap();
        hasher.update(&[1; 70]);
        let resume = hasher.resume_point(&[1; 6]);
        assert_eq!(resume.sha256_state.len(), 109);
        assert_eq!(hex::encode(&resume.sha256_state), VERSION_1);
    }

    const VERSION_1: &str = "0197e8a4b8c3dc78389b6c4b901b61c4df8010ecbafda467f75eb1a812395b6fe10100000000000000060101010101010000000000\
        00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000b7ab530c";
}
