//! What a processor and its worker processes say to each other over two pipes.
//!
//! Every message is a frame: its length in four bytes (little endian, of what follows), one byte that says what it is,
//! and its body. A step is one exchange:
//!
//! ```text
//! processor: Begin (JSON) · Piece (bytes) * · End, or Broken (a sentence) when the content cannot be read
//! worker:    Read (eight bytes) * · Output (JSON) or Failed (JSON) or Panicked (a sentence)
//! ```
//!
//! The worker may answer before it has read everything; the processor then sends End at once, and the worker passes over
//! what is still in the pipe. Both run the same release, so there are no versions.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use usp_steps::{FileFacts, StepError, StepOutput};

use super::Order;

/// Far over a piece of content and over the largest report.
pub(super) const FRAME_BYTES_MAX: usize = 16 << 20;
/// Length and kind.
pub(super) const HEAD_BYTES: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Begin = 1,
    Piece = 2,
    End = 3,
    Broken = 4,
    Read = 5,
    Output = 6,
    Failed = 7,
    Panicked = 8,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::Begin,
        Self::Piece,
        Self::End,
        Self::Broken,
        Self::Read,
        Self::Output,
        Self::Failed,
        Self::Panicked,
    ];
}

/// The head of a frame with a body of so many bytes. Errors: a body that is too long.
pub(super) fn head(kind: Kind, body_bytes: usize) -> io::Result<[u8; HEAD_BYTES]> {
    let length = u32::try_from(body_bytes + 1).ok().filter(|length| *length as usize <= FRAME_BYTES_MAX);
    let Some(length) = length else { return Err(foreign(format!("a frame of {body_bytes} bytes"))) };
    let [a, b, c, d] = length.to_le_bytes();
    Ok([a, b, c, d, kind as u8])
}

/// What a head announces: the kind, and the bytes of the body.
pub(super) fn parse_head(head: [u8; HEAD_BYTES]) -> io::Result<(Kind, usize)> {
    let [a, b, c, d, kind] = head;
    let length = u32::from_le_bytes([a, b, c, d]) as usize;
    let found = Kind::ALL.into_iter().find(|known| *known as u8 == kind);
    match found {
        Some(kind) if (1..=FRAME_BYTES_MAX).contains(&length) => Ok((kind, length - 1)),
        _ => Err(foreign(format!("a frame of kind {kind} and {length} bytes"))),
    }
}

fn foreign(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is none of this protocol"))
}

pub(super) fn write(out: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    out.write_all(&head(kind, body.len())?)?;
    out.write_all(body)
}

/// The next frame, into `body`; `None` at the end between two frames.
pub(super) fn read(input: &mut impl Read, body: &mut Vec<u8>) -> io::Result<Option<Kind>> {
    let mut head = [0; HEAD_BYTES];
    match input.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let (kind, length) = parse_head(head)?;
    body.clear();
    body.resize(length, 0);
    input.read_exact(body)?;
    Ok(Some(kind))
}

#[derive(Debug, Serialize, Deserialize)]
struct OrderJson {
    uses: String,
    with: BTreeMap<String, Value>,
    timeout_s: u64,
    key: String,
    media_type: String,
    declared_media_type: Option<String>,
    size_bytes: u64,
    metadata: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
}

pub(super) fn encode_order(order: &Order) -> io::Result<Vec<u8>> {
    let facts = order.facts.clone();
    let json = OrderJson {
        uses: order.uses.clone(),
        with: order.with.clone(),
        timeout_s: order.timeout_s,
        key: facts.key,
        media_type: facts.media_type,
        declared_media_type: facts.declared_media_type,
        size_bytes: facts.size_bytes,
        metadata: facts.metadata,
        labels: facts.labels,
    };
    serde_json::to_vec(&json).map_err(io::Error::other)
}

pub(super) fn decode_order(body: &[u8]) -> io::Result<Order> {
    let json: OrderJson = serde_json::from_slice(body).map_err(io::Error::other)?;
    let facts = FileFacts {
        key: json.key,
        media_type: json.media_type,
        declared_media_type: json.declared_media_type,
        size_bytes: json.size_bytes,
        metadata: json.metadata,
        labels: json.labels,
    };
    Ok(Order { uses: json.uses, with: json.with, facts, timeout_s: json.timeout_s })
}

#[derive(Debug, Serialize, Deserialize)]
struct OutputJson {
    report: Option<Value>,
    labels: BTreeMap<String, String>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
enum FailedJson {
    Permanent(String),
    Invalid { reason: String, report: Value },
    Temporary(String),
    Cancelled,
}

/// The frame that says how a step ended.
pub(super) fn encode_answer(answer: Result<StepOutput, StepError>) -> io::Result<(Kind, Vec<u8>)> {
    let encoded = match answer {
        Ok(StepOutput { report, labels, metadata }) => {
            (Kind::Output, serde_json::to_vec(&OutputJson { report, labels, metadata }))
        }
        Err(error) => {
            let failed = match error {
                StepError::Permanent(reason) => FailedJson::Permanent(reason),
                StepError::Invalid { reason, report } => FailedJson::Invalid { reason, report },
                StepError::Temporary(reason) => FailedJson::Temporary(reason),
                StepError::Cancelled => FailedJson::Cancelled,
            };
            (Kind::Failed, serde_json::to_vec(&failed))
        }
    };
    Ok((encoded.0, encoded.1.map_err(io::Error::other)?))
}

pub(super) fn decode_output(body: &[u8]) -> io::Result<StepOutput> {
    let json: OutputJson = serde_json::from_slice(body).map_err(io::Error::other)?;
    Ok(StepOutput { report: json.report, labels: json.labels, metadata: json.metadata })
}

pub(super) fn decode_failed(body: &[u8]) -> io::Result<StepError> {
    Ok(match serde_json::from_slice(body).map_err(io::Error::other)? {
        FailedJson::Permanent(reason) => StepError::Permanent(reason),
        FailedJson::Invalid { reason, report } => StepError::Invalid { reason, report },
        FailedJson::Temporary(reason) => StepError::Temporary(reason),
        FailedJson::Cancelled => StepError::Cancelled,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut bytes = Vec::new();
        write(&mut bytes, Kind::Piece, b"abc").unwrap();
        write(&mut bytes, Kind::End, b"").unwrap();
        let (mut input, mut body) = (bytes.as_slice(), Vec::new());
        assert_eq!(read(&mut input, &mut body).unwrap(), Some(Kind::Piece));
        assert_eq!(body, b"abc");
        assert_eq!(read(&mut input, &mut body).unwrap(), Some(Kind::End));
        assert_eq!(read(&mut input, &mut body).unwrap(), None);
    }

    #[test]
    fn frames_of_no_kind_or_size_are_refused() {
        for bytes in [[0, 0, 0, 0, 1], [1, 0, 0, 0, 9], [255, 255, 255, 255, 2]] {
            assert!(parse_head(bytes).is_err(), "{bytes:?}");
        }
        assert!(head(Kind::Piece, FRAME_BYTES_MAX).is_err());
    }

    #[test]
    fn every_answer_survives_its_way() {
        let output = StepOutput {
            report: Some(json!({"rows": 1})),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            metadata: BTreeMap::new(),
        };
        let (kind, body) = encode_answer(Ok(output.clone())).unwrap();
        assert_eq!((kind, decode_output(&body).unwrap()), (Kind::Output, output));
        for error in [
            StepError::Permanent("p".to_owned()),
            StepError::Invalid { reason: "i".to_owned(), report: json!([1]) },
            StepError::Temporary("t".to_owned()),
            StepError::Cancelled,
        ] {
            let (kind, body) = encode_answer(Err(error.clone())).unwrap();
            assert_eq!((kind, decode_failed(&body).unwrap()), (Kind::Failed, error));
        }
    }
}
