//! The stored form of events: docs/formats/event.md. Any engine keeps these bytes.
//!
//! One row holds the events that one transaction writes for one object, one behind the other: a content that no rule is
//! about is stored and ready at once, and costs one row. The number of a row is that of its last event.

use serde_json::Value;
use usp_model::{
    Error, ErrorKind, EventBody, EventKind, FileChange, FileEvent, FileKey, FileState, MediaType, Result,
    RunChange, RunEvent, RunId, RunState, Timestamp, UploadChange, UploadEvent, UploadId,
};

mod legacy;

/// Of the bodies that this usp writes. Bodies of schema versions before 8 are JSON objects: they begin with `{`.
const FORMAT: u8 = 2;
const FORMAT_JSON: u8 = b'{';

const FAMILY_UPLOAD: u8 = 1;
const FAMILY_FILE: u8 = 2;
const FAMILY_RUN: u8 = 3;

/// Media types that most files have, by number: one byte instead of twenty. Only ever added to at the end.
const MEDIA_TYPES: [&str; 20] = [
    "application/octet-stream",
    "text/plain",
    "text/csv",
    "text/tab-separated-values",
    "application/json",
    "application/x-ndjson",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/xml",
    "text/xml",
    "text/html",
    "text/markdown",
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/svg+xml",
    "video/mp4",
    "audio/mpeg",
];

/// The number of a kind: its bit in a mask, and its change in a body. Never given to another kind.
fn number(kind: EventKind) -> u8 {
    match kind {
        EventKind::UploadCreated => 0,
        EventKind::UploadProgress => 1,
        EventKind::UploadCompleted => 2,
        EventKind::UploadExpired => 3,
        EventKind::UploadTerminated => 4,
        EventKind::FileStored => 5,
        EventKind::FileProcessing => 6,
        EventKind::FileReady => 7,
        EventKind::FileFailed => 8,
        EventKind::FileQuarantined => 9,
        EventKind::FileRejected => 10,
        EventKind::FileDeleted => 11,
        EventKind::RunQueued => 12,
        EventKind::RunStarted => 13,
        EventKind::RunProgress => 14,
        EventKind::RunRetrying => 15,
        EventKind::RunSucceeded => 16,
        EventKind::RunDead => 17,
        EventKind::RunCancelled => 18,
    }
}

/// Kinds as one number, so that a row is found by any kind of what it holds.
pub(crate) fn mask_of(kinds: impl IntoIterator<Item = EventKind>) -> i64 {
    kinds.into_iter().fold(0, |mask, kind| mask | (1 << number(kind)))
}

/// How many events a row of these kinds holds: each kind is in it once.
pub(crate) fn count_of(kinds: i64) -> i64 {
    i64::from(kinds.count_ones())
}

/// Writes events of one object as the body of one row.
///
/// Shape: at least one; several only of one file, alike in all but their changes, which differ, and their states. Errors:
/// `Internal` otherwise.
pub(crate) fn encode(key: &FileKey, bodies: &[EventBody]) -> Result<Vec<u8>> {
    if usize::try_from(count_of(mask_of(bodies.iter().map(EventBody::kind)))) != Ok(bodies.len()) {
        return Err(misshapen());
    }
    let mut out = Writer(vec![FORMAT]);
    match bodies {
        [EventBody::Upload(upload)] => out.upload(upload),
        [EventBody::Run(run)] => out.run(run)?,
        [EventBody::File(first), ..] => out.file(first, bodies)?,
        _ => return Err(misshapen()),
    }
    out.0.extend_from_slice(key.as_str().as_bytes());
    Ok(out.0)
}

/// Reads what [`encode`] wrote, or an older form: the events in order, and the key they were written under.
///
/// `kinds`: those that the row says it holds. Errors: `Corrupt`.
pub(crate) fn decode(kinds: i64, body: &[u8]) -> Result<(FileKey, Vec<EventBody>)> {
    match body.first() {
        Some(&FORMAT) => {}
        Some(&FORMAT_JSON) => return legacy::decode(kind_of(kinds)?, body),
        _ => return Err(corrupt("it begins with no format that this usp knows")),
    }
    let mut rest = Reader(body.get(1..).unwrap_or_default());
    let bodies = match rest.byte()? {
        FAMILY_UPLOAD => vec![EventBody::Upload(rest.upload()?)],
        FAMILY_FILE => rest.files()?.into_iter().map(EventBody::File).collect(),
        FAMILY_RUN => vec![EventBody::Run(rest.run()?)],
        _ => return Err(corrupt("it is about nothing that this usp knows")),
    };
    if bodies.is_empty() || !has_kinds(&bodies, kinds) {
        return Err(corrupt("its row says that it is of other kinds"));
    }
    Ok((parsed(rest.0, FileKey::parse)?, bodies))
}

/// Whether these are one of each of `kinds`.
fn has_kinds(bodies: &[EventBody], kinds: i64) -> bool {
    mask_of(bodies.iter().map(EventBody::kind)) == kinds
        && usize::try_from(count_of(kinds)) == Ok(bodies.len())
}

/// The kind of a row that holds one event.
fn kind_of(kinds: i64) -> Result<EventKind> {
    EventKind::ALL
        .iter()
        .copied()
        .find(|kind| mask_of([*kind]) == kinds)
        .ok_or_else(|| corrupt("its kind is none that this usp knows"))
}

struct Writer(Vec<u8>);

impl Writer {
    fn upload(&mut self, upload: &UploadEvent) {
        let UploadEvent { change, upload_id, size_bytes, received_bytes } = upload;
        let version = match change {
            UploadChange::Completed { version } => *version,
            UploadChange::Created
            | UploadChange::Progress
            | UploadChange::Expired
            | UploadChange::Terminated => 0,
        };
        self.0.push(FAMILY_UPLOAD);
        self.0.push(number(EventBody::Upload(upload.clone()).kind()));
        self.0.extend_from_slice(upload_id.as_bytes());
        self.count(u64::from(version));
        self.optional(*size_bytes);
        self.count(*received_bytes);
    }

    /// What all have in common once, then the change and state of each.
    fn file(&mut self, first: &FileEvent, bodies: &[EventBody]) -> Result<()> {
        let FileEvent { version, size_bytes, media_type, .. } = first;
        self.0.push(FAMILY_FILE);
        self.count(bodies.len() as u64);
        for body in bodies {
            let EventBody::File(file) = body else { return Err(misshapen()) };
            if (file.version, file.size_bytes, &file.media_type) != (*version, *size_bytes, media_type) {
                return Err(misshapen());
            }
            self.0.push(number(body.kind()));
            self.0.push(state_number(file.state) | if file.released { RELEASED } else { 0 });
        }
        self.count(u64::from(*version));
        self.count(*size_bytes);
        let known = MEDIA_TYPES.iter().position(|known| *known == media_type.as_str());
        match known.and_then(|place| u8::try_from(place + 1).ok()) {
            Some(place) => self.0.push(place),
            None => {
                self.0.push(0);
                self.text(media_type.as_str());
            }
        }
        Ok(())
    }

    fn run(&mut self, run: &RunEvent) -> Result<()> {
        let kind = EventBody::Run(run.clone()).kind();
        if !kind.is_kept() {
            return Err(misshapen());
        }
        self.0.push(FAMILY_RUN);
        self.0.push(number(kind));
        self.0.extend_from_slice(run.run_id.as_bytes());
        self.0.push(run_state_number(run.state));
        self.text(run.rule.as_str());
        for count in [run.rule_version, run.version, run.attempt] {
            self.count(u64::from(count));
        }
        self.optional_text(run.step.as_deref());
        self.optional_text(run.error.as_deref());
        self.optional(run.next_attempt_at.and_then(|at| u64::try_from(at.unix_ms()).ok()));
        self.optional_text(run.trace.as_deref());
        Ok(())
    }

    /// Seven bits a byte, the lowest first; the highest bit says that more follow.
    fn count(&mut self, mut value: u64) {
        loop {
            let low = u8::try_from(value & 0x7f).unwrap_or(0);
            value >>= 7;
            if value == 0 {
                self.0.push(low);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    /// One more than the value; 0 for none.
    fn optional(&mut self, value: Option<u64>) {
        self.count(value.map_or(0, |value| value.saturating_add(1)));
    }

    fn text(&mut self, text: &str) {
        self.count(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// One more than the length; 0 for none.
    fn optional_text(&mut self, text: Option<&str>) {
        match text {
            None => self.count(0),
            Some(text) => {
                self.count(text.len() as u64 + 1);
                self.0.extend_from_slice(text.as_bytes());
            }
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn upload(&mut self) -> Result<UploadEvent> {
        let change = self.byte()?;
        let upload_id = UploadId::from_bytes(self.array()?);
        let version = self.short()?;
        let size_bytes = self.optional()?;
        let received_bytes = self.count()?;
        let change = match change {
            0 => UploadChange::Created,
            1 => UploadChange::Progress,
            2 => UploadChange::Completed { version },
            3 => UploadChange::Expired,
            4 => UploadChange::Terminated,
            _ => return Err(corrupt("it has no change of an upload")),
        };
        Ok(UploadEvent { change, upload_id, size_bytes, received_bytes })
    }

    fn files(&mut self) -> Result<Vec<FileEvent>> {
        let mut changes = Vec::new();
        for _ in 0..self.count()? {
            changes.push((self.byte()?, self.byte()?));
        }
        let (version, size_bytes) = (self.short()?, self.count()?);
        let media_type = match self.byte()? {
            0 => parsed(self.text()?, MediaType::parse)?,
            place => {
                let known = MEDIA_TYPES.get(usize::from(place) - 1);
                let known =
                    known.ok_or_else(|| corrupt("its media type has no number that this usp knows"))?;
                parsed(known.as_bytes(), MediaType::parse)?
            }
        };
        let event = |(change, state): (u8, u8)| {
            Ok(FileEvent {
                change: file_change(change)?,
                version,
                size_bytes,
                media_type: media_type.clone(),
                state: file_state(state & !RELEASED)?,
                released: state & RELEASED != 0,
            })
        };
        changes.into_iter().map(event).collect()
    }

    fn run(&mut self) -> Result<RunEvent> {
        let change = match self.byte()? {
            12 => RunChange::Queued,
            13 => RunChange::Started,
            15 => RunChange::Retrying,
            16 => RunChange::Succeeded,
            17 => RunChange::Dead,
            18 => RunChange::Cancelled,
            _ => return Err(corrupt("it has no change of a run")),
        };
        let run_id = RunId::from_bytes(self.array()?);
        let state = run_state(self.byte()?)?;
        let rule = parsed(self.text()?, usp_model::RuleName::parse)?;
        let (rule_version, version, attempt) = (self.short()?, self.short()?, self.short()?);
        let (step, error) = (self.optional_text()?, self.optional_text()?);
        let next_attempt_at = self.optional()?.and_then(|ms| i64::try_from(ms).ok());
        Ok(RunEvent {
            change,
            run_id,
            rule,
            rule_version,
            version,
            state,
            attempt,
            step,
            error,
            next_attempt_at: next_attempt_at.map(Timestamp::from_unix_ms),
            trace: self.optional_text()?,
        })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| corrupt("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_short| corrupt("it ends too early"))
    }

    fn count(&mut self) -> Result<u64> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(corrupt("a number in it has no end"))
    }

    fn short(&mut self) -> Result<u32> {
        u32::try_from(self.count()?).map_err(|_over| corrupt("a number in it is too large"))
    }

    fn optional(&mut self) -> Result<Option<u64>> {
        Ok(self.count()?.checked_sub(1))
    }

    fn text(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.count()?).map_err(|_over| corrupt("a text in it is too long"))?;
        self.take(length)
    }

    fn optional_text(&mut self) -> Result<Option<String>> {
        let Some(length) = self.optional()? else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_over| corrupt("a text in it is too long"))?;
        parsed(self.take(length)?, |text| Ok(text.to_owned())).map(Some)
    }
}

/// Beside the number of a state.
const RELEASED: u8 = 0x80;

fn state_number(state: FileState) -> u8 {
    match state {
        FileState::Uploading => 0,
        FileState::Stored => 1,
        FileState::Processing => 2,
        FileState::Ready => 3,
        FileState::Failed => 4,
        FileState::Quarantined => 5,
        FileState::Rejected => 6,
    }
}

fn file_state(number: u8) -> Result<FileState> {
    let found = FileState::ALL.iter().copied().find(|state| state_number(*state) == number);
    found.ok_or_else(|| corrupt("it has no state of a file"))
}

fn run_state_number(state: RunState) -> u8 {
    match state {
        RunState::Queued => 0,
        RunState::Running => 1,
        RunState::Retrying => 2,
        RunState::Succeeded => 3,
        RunState::Dead => 4,
        RunState::Cancelled => 5,
    }
}

fn run_state(number: u8) -> Result<RunState> {
    let found = RunState::ALL.iter().copied().find(|state| run_state_number(*state) == number);
    found.ok_or_else(|| corrupt("it has no state of a run"))
}

fn file_change(number: u8) -> Result<FileChange> {
    match number {
        5 => Ok(FileChange::Stored),
        6 => Ok(FileChange::Processing),
        7 => Ok(FileChange::Ready),
        8 => Ok(FileChange::Failed),
        9 => Ok(FileChange::Quarantined),
        10 => Ok(FileChange::Rejected),
        11 => Ok(FileChange::Deleted),
        _ => Err(corrupt("it has no change of a file")),
    }
}

fn parsed<T>(bytes: &[u8], parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|source| corrupt("it is no text").caused_by(source))?;
    parse(text).map_err(|source| corrupt("a text in it breaks the rule of its type").caused_by(source))
}

fn corrupt(reason: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, "read event").because(reason)
}

fn misshapen() -> Error {
    Error::new(ErrorKind::Internal, "write event").because("these events do not go into one row")
}

/// The value of a JSON member as `parse` reads it.
fn member<T>(object: &Value, name: &str, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let text = object.get(name).and_then(Value::as_str).ok_or_else(|| corrupt("a member is missing"))?;
    parsed(text.as_bytes(), parse)
}

#[cfg(test)]
mod tests;
