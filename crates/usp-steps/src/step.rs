//! What a step is given, what it gives back, and which steps there are.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::Read;

use serde_json::Value;
use usp_model::{Error, ErrorKind, Result, Violation};

use crate::digest::Digest;
use crate::profile::Profile;
use crate::sniff::Sniff;
use crate::validate::Validate;

/// What is known of a file before its bytes are read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileFacts {
    pub key: String,
    /// Decided from the bytes; steps that depend on the format rely on it.
    pub media_type: String,
    pub declared_media_type: Option<String>,
    pub size_bytes: u64,
    pub metadata: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
}

impl FileFacts {
    /// The part of the key after its last dot, in lower case.
    pub(crate) fn extension(&self) -> Option<String> {
        let name = self.key.rsplit('/').next().unwrap_or_default();
        let (stem, extension) = name.rsplit_once('.')?;
        (!stem.is_empty() && !extension.is_empty()).then(|| extension.to_ascii_lowercase())
    }
}

/// Lets whoever waits for a step follow it and stop it.
pub trait Progress {
    /// Called about once per 256 KiB, and at the end of what the step reads.
    fn bytes_read(&self, total: u64);
    /// Asked before every read; `true` ends the step with [`StepError::Cancelled`].
    fn is_cancelled(&self) -> bool;
}

/// What a step publishes; nothing of it shows unless the whole step succeeds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepOutput {
    /// At most `usp_model::limits::REPORT_BYTES_MAX` bytes as JSON.
    pub report: Option<Value>,
    pub labels: BTreeMap<String, String>,
    pub metadata: BTreeMap<String, String>,
}

impl StepOutput {
    pub(crate) fn of(report: Value) -> Self {
        Self { report: Some(report), ..Self::default() }
    }
}

/// Why a step did not succeed, sorted by what the caller should do.
#[derive(Debug, Clone, PartialEq)]
pub enum StepError {
    /// The file is wrong and retrying cannot help; a sentence for a person.
    Permanent(String),
    /// The file breaks its validation: permanent like `Permanent`, with a report to publish all the same.
    Invalid {
        reason: String,
        report: Value,
    },
    /// Worth a retry, such as a failed read.
    Temporary(String),
    Cancelled,
}

impl std::fmt::Display for StepError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Permanent(reason) | Self::Invalid { reason, .. } | Self::Temporary(reason) => {
                f.write_str(reason)
            }
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

impl std::error::Error for StepError {}

/// A configured step, ready to run over any number of files.
pub trait Step: Debug + Send + Sync {
    /// Reads as much of `content` as it needs, once and in order, and blocks while doing so.
    ///
    /// Cancel: through `progress`; nothing is left behind.
    fn run(
        &self,
        file: &FileFacts,
        content: &mut dyn Read,
        progress: &dyn Progress,
    ) -> std::result::Result<StepOutput, StepError>;
}

/// The steps that [`build`] knows, in alphabetical order.
pub fn names() -> &'static [&'static str] {
    &["digest", "profile", "sniff", "validate"]
}

/// Where a step may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It only counts or hashes bytes: nothing that a stranger sent can lead it astray.
    Inside,
    /// It takes apart what a stranger sent, and belongs into a process that may die.
    Apart,
}

/// Where the step `uses` may run. Unknown ones belong apart.
pub fn place(uses: &str) -> Place {
    match uses {
        "digest" => Place::Inside,
        _ => Place::Apart,
    }
}

/// Makes a step from its name and parameters, as a rule writes them.
///
/// Errors: `InvalidInput` with one violation per wrong parameter (pointers such as `/with/columns/0/type`, or
/// `/uses` for an unknown step).
pub fn build(uses: &str, with: &BTreeMap<String, Value>) -> Result<Box<dyn Step>> {
    match uses {
        "digest" => Ok(Box::new(Digest::from_parameters(with)?)),
        #[cfg(feature = "poison")]
        "poison" => Ok(Box::new(crate::poison::Poison)),
        "profile" => Ok(Box::new(Profile::from_parameters(with)?)),
        "sniff" => Ok(Box::new(Sniff::from_parameters(with)?)),
        "validate" => Ok(Box::new(Validate::from_parameters(with)?)),
        _ => {
            let known = format!("the steps are: {}", names().join(", "));
            Err(Error::new(ErrorKind::InvalidInput, "build step")
                .about(usp_model::error::printable(uses))
                .because(format!("there is no step '{}'; {known}", usp_model::error::printable(uses)))
                .with_violations(vec![Violation::new("/uses", known)]))
        }
    }
}
