//! `digest`: digests of the whole content, all in one pass.

use std::collections::BTreeMap;
use std::io::Read;

use crc_fast::CrcAlgorithm;
use serde_json::{Value, json};
use sha2::Digest as _;
use usp_model::{DigestAlgorithm, Result};

use crate::parameters::Parameters;
use crate::source::Source;
use crate::{FileFacts, Progress, Step, StepError, StepOutput};

#[derive(Debug)]
pub(crate) struct Digest {
    algorithms: Vec<DigestAlgorithm>,
}

impl Digest {
    /// Parameters: `algorithms`, a list of words; SHA-256 and BLAKE3 if absent.
    pub(crate) fn from_parameters(with: &BTreeMap<String, Value>) -> Result<Self> {
        let mut parameters = Parameters::new(with);
        let mut algorithms = Vec::new();
        match parameters.list("algorithms", DigestAlgorithm::ALL.len()) {
            None => algorithms = vec![DigestAlgorithm::Sha256, DigestAlgorithm::Blake3],
            Some(words) => {
                for (index, word) in words.iter().enumerate() {
                    match word.as_str().and_then(|word| DigestAlgorithm::parse(word).ok()) {
                        Some(algorithm) if !algorithms.contains(&algorithm) => algorithms.push(algorithm),
                        Some(_) => parameters.violate_at("algorithms", index, "each algorithm once"),
                        None => parameters.violate_at("algorithms", index, known()),
                    }
                }
            }
        }
        parameters.finish("digest")?;
        Ok(Self { algorithms })
    }
}

fn known() -> String {
    let words: Vec<&str> = DigestAlgorithm::ALL.iter().map(|algorithm| algorithm.as_str()).collect();
    format!("one of {} is expected", words.join(", "))
}

impl Step for Digest {
    fn run(
        &self,
        _file: &FileFacts,
        content: &mut dyn Read,
        progress: &dyn Progress,
    ) -> std::result::Result<StepOutput, StepError> {
        let mut source = Source::new(content, progress);
        let mut hashers: Vec<Hasher> =
            self.algorithms.iter().map(|algorithm| Hasher::new(*algorithm)).collect();
        loop {
            let piece = source.next()?;
            if piece.is_empty() {
                break;
            }
            for hasher in &mut hashers {
                hasher.update(piece);
            }
        }
        let digests = self.algorithms.iter().zip(hashers);
        let report =
            digests.map(|(algorithm, hasher)| (algorithm.to_string(), json!(hasher.hex()))).collect();
        Ok(StepOutput::of(Value::Object(report)))
    }
}

enum Hasher {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
    Blake3(Box<blake3::Hasher>),
    Md5(md5::Md5),
    Crc32c(crc_fast::Digest),
}

impl Hasher {
    fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            DigestAlgorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            DigestAlgorithm::Blake3 => Self::Blake3(Box::default()),
            DigestAlgorithm::Md5 => Self::Md5(md5::Md5::new()),
            DigestAlgorithm::Crc32c => Self::Crc32c(crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi)),
        }
    }

    fn update(&mut self, piece: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(piece),
            Self::Sha512(hasher) => hasher.update(piece),
            Self::Blake3(hasher) => {
                hasher.update(piece);
            }
            Self::Md5(hasher) => hasher.update(piece),
            Self::Crc32c(hasher) => hasher.update(piece),
        }
    }

    fn hex(self) -> String {
        match self {
            Self::Sha256(hasher) => hex::encode(hasher.finalize()),
            Self::Sha512(hasher) => hex::encode(hasher.finalize()),
            Self::Blake3(hasher) => hasher.finalize().to_hex().to_string(),
            Self::Md5(hasher) => hex::encode(hasher.finalize()),
            Self::Crc32c(hasher) => format!("{:08x}", hasher.finalize()),
        }
    }
}
