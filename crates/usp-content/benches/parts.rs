//! `cargo bench -p usp-content`: each part of ingest and reading alone, on one thread, over 16 MiB that do not compress
//! and 16 MiB of text. Their sum is what a GiB has to cost (docs/BENCHMARKS.md, section 5).

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

use bytes::Bytes;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use usp_content::frame::Codec;
use usp_content::parts::{self, Framing};
use usp_model::{Digest, DomainKey};

fn main() {
    divan::main();
}

const SIZE_BYTES: usize = 16 << 20;
const KINDS: [&str; 2] = ["random", "text"];

fn key() -> DomainKey {
    DomainKey::from_bytes([7; 32])
}

fn content(kind: &str) -> Bytes {
    let mut noise = vec![0; SIZE_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    if kind == "random" {
        return noise.into();
    }
    // Rows of a table, as devices and vendors send them.
    let (cells, _) = noise.as_chunks::<4>();
    let rows = cells.iter().zip(0_u64..).map(|(&[low, high, minute, sensor], row)| {
        let reading = u16::from_le_bytes([low, high]);
        format!("{row},2026-11-28T17:{:02}:00Z,sensor-{},{reading}\n", minute % 60, sensor % 16)
    });
    let mut text = String::with_capacity(SIZE_BYTES + 64);
    for row in rows {
        text.push_str(&row);
        if text.len() >= SIZE_BYTES {
            break;
        }
    }
    text.truncate(SIZE_BYTES);
    text.into()
}

fn chunks(kind: &str) -> Vec<(Bytes, Digest)> {
    let key = key();
    parts::cut(&content(kind)).into_iter().map(|chunk| (chunk.clone(), parts::digest(&chunk, &key))).collect()
}

#[divan::bench(args = KINDS)]
fn cut(bencher: Bencher<'_, '_>, kind: &str) {
    let content = content(kind);
    bencher.counter(BytesCount::new(SIZE_BYTES)).bench(|| parts::cut(black_box(&content)));
}

#[divan::bench(args = KINDS)]
fn digest_of_chunks(bencher: Bencher<'_, '_>, kind: &str) {
    let (chunks, key) = (chunks(kind), key());
    bencher.counter(BytesCount::new(SIZE_BYTES)).bench(|| {
        for (chunk, _) in &chunks {
            black_box(parts::digest(chunk, &key));
        }
    });
}

#[divan::bench]
fn sha256_of_content(bencher: Bencher<'_, '_>) {
    let content = content("random");
    bencher.counter(BytesCount::new(SIZE_BYTES)).bench(|| parts::hash(black_box(&content)));
}

fn encode(bencher: Bencher<'_, '_>, kind: &str, codec: Codec) {
    let (chunks, framing) = (chunks(kind), Framing::default());
    bencher.counter(BytesCount::new(SIZE_BYTES)).bench(|| {
        for (chunk, digest) in &chunks {
            black_box(framing.encode(chunk.clone(), *digest, codec).expect("a frame"));
        }
    });
}

#[divan::bench(args = KINDS)]
fn frame_as_it_is(bencher: Bencher<'_, '_>, kind: &str) {
    encode(bencher, kind, Codec::None);
}

#[divan::bench(args = KINDS)]
fn frame_with_zstd(bencher: Bencher<'_, '_>, kind: &str) {
    encode(bencher, kind, Codec::Zstd);
}

#[divan::bench(args = KINDS)]
fn frame_with_lz4(bencher: Bencher<'_, '_>, kind: &str) {
    encode(bencher, kind, Codec::Lz4);
}

#[divan::bench(args = [("random", "none"), ("text", "zstd"), ("text", "lz4")])]
fn open_frames(bencher: Bencher<'_, '_>, (kind, codec): (&str, &str)) {
    let codec = match codec {
        "zstd" => Codec::Zstd,
        "lz4" => Codec::Lz4,
        _ => Codec::None,
    };
    let (key, framing) = (key(), Framing::default());
    let frames: Vec<_> = chunks(kind)
        .into_iter()
        .map(|(chunk, digest)| {
            let size_bytes = u32::try_from(chunk.len()).expect("a chunk is short");
            (framing.encode(chunk, digest, codec).expect("a frame"), digest, size_bytes)
        })
        .collect();
    bencher.counter(BytesCount::new(SIZE_BYTES)).bench(|| {
        for (frame, digest, size_bytes) in &frames {
            black_box(framing.decode(frame, *digest, *size_bytes, &key).expect("a sound frame"));
        }
    });
}
