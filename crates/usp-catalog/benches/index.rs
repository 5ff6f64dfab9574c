//! `cargo bench -p usp-catalog`: look-ups in an index of a million chunks, by 64 digests as a slab asks, and seeks in a
//! manifest of 100,000 chunks.

#![expect(clippy::expect_used, reason = "a benchmark fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::LazyLock;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use usp_catalog::records::NewVersion;
use usp_catalog::{Catalog, SqliteCatalog, SqliteConfig};
use usp_model::{
    Act, BucketName, BucketPolicy, ByteRange, ChunkRef, Digest, DomainId, FileId, FileKey, FileRef,
    FramePlace, KeyCondition, ManifestId, MediaType, PackId, Release, StoredBytes, Timestamp, UserName,
};

fn main() {
    divan::main();
}

const FILE_COUNT: u64 = 10;
const CHUNKS_PER_FILE: u64 = 100_000;
const CHUNK_COUNT: u64 = FILE_COUNT * CHUNKS_PER_FILE;
const CHUNK_BYTES: u32 = 40_000;
/// Chunks of a slab of 2 MiB and a half.
const ASKED: u64 = 64;

/// A catalogue that knows a million chunks.
struct Index {
    runtime: Runtime,
    catalog: Arc<dyn Catalog>,
    manifest: ManifestId,
    _dir: TempDir,
}

/// In no order, as digests are.
fn digest(number: u64) -> Digest {
    let mut bytes = [0; 32];
    for (part, salt) in bytes.chunks_exact_mut(8).zip(1_u64..) {
        let mixed = (number ^ salt << 40).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        part.copy_from_slice(&(mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9).to_be_bytes());
    }
    Digest::from_bytes(bytes)
}

fn version(file: u64, pack: PackId) -> NewVersion {
    let chunk = |n: u64| {
        let number = file * CHUNKS_PER_FILE + n;
        let place =
            FramePlace { pack, offset: 4_096 + number * u64::from(CHUNK_BYTES), stored_bytes: CHUNK_BYTES };
        ChunkRef::New { digest: digest(number), size_bytes: CHUNK_BYTES, place }
    };
    let size_bytes = CHUNKS_PER_FILE * u64::from(CHUNK_BYTES);
    NewVersion {
        upload: None,
        file_id: FileId::random().expect("an id"),
        bucket: BucketName::parse("default").expect("a name"),
        domain: DomainId(1),
        key: FileKey::parse(&format!("file-{file}")).expect("a key"),
        condition: KeyCondition::Any,
        chunks: (0..CHUNKS_PER_FILE).map(chunk).collect(),
        redo: Vec::new(),
        size_bytes,
        digests: BTreeMap::new(),
        media_type: MediaType::parse("application/octet-stream").expect("a type"),
        declared_media_type: None,
        owner: UserName::parse("bench").expect("a name"),
        metadata: BTreeMap::new(),
        labels: BTreeMap::new(),
        stored: StoredBytes { bytes: size_bytes, chunks: CHUNKS_PER_FILE, deduplicated_bytes: 0 },
        runs: Vec::new(),
        release: Release::Immediate,
        derived_from: None,
        idempotency_key: None,
        quota_bytes: None,
    }
}

impl Index {
    async fn fill(catalog: &dyn Catalog) -> usp_model::Result<ManifestId> {
        let act = || Act::duty("bench", Timestamp::from_unix_ms(0));
        catalog.create_bucket(act(), BucketName::parse("default")?, BucketPolicy::default()).await?;
        let pack = catalog.begin_pack(act()).await?;
        let mut manifest = ManifestId(0);
        for file in 0..FILE_COUNT {
            let committed = catalog.commit_version(act(), version(file, pack)).await?;
            manifest = catalog.file(&FileRef::Id(committed.file.id), None).await?.manifest;
        }
        Ok(manifest)
    }

    fn make() -> Self {
        let dir = TempDir::new().expect("a directory");
        let runtime = Runtime::new().expect("a runtime");
        let catalog =
            SqliteCatalog::open(SqliteConfig::new(dir.path().join("catalog.db"))).expect("a catalogue");
        let manifest = runtime.block_on(Self::fill(&*catalog)).expect("a filled catalogue");
        Self { runtime, catalog, manifest, _dir: dir }
    }
}

static INDEX: LazyLock<Index> = LazyLock::new(Index::make);

fn look_up(bencher: Bencher<'_, '_>, beyond: u64) {
    let index = &*INDEX;
    let mut first = 0_u64;
    bencher.counter(ItemsCount::new(ASKED)).bench_local(|| {
        first = first.wrapping_add(7_919 * ASKED);
        let digests = (0..ASKED).map(|n| digest(beyond + (first + n * 15_485_863) % CHUNK_COUNT)).collect();
        let found = index.runtime.block_on(index.catalog.lookup_chunks(digests)).expect("an answer");
        assert_eq!(found.iter().flatten().count() as u64, if beyond == 0 { ASKED } else { 0 });
        black_box(found)
    });
}

#[divan::bench]
fn look_up_64_known(bencher: Bencher<'_, '_>) {
    look_up(bencher, 0);
}

#[divan::bench]
fn look_up_64_new(bencher: Bencher<'_, '_>) {
    look_up(bencher, CHUNK_COUNT);
}

/// What a range request of 64 KiB needs.
#[divan::bench]
fn seek_in_manifest(bencher: Bencher<'_, '_>) {
    let index = &*INDEX;
    let mut chunk = 0_u64;
    bencher.bench_local(|| {
        chunk = (chunk + 15_485_863) % CHUNKS_PER_FILE;
        let start = chunk * u64::from(CHUNK_BYTES);
        let range = ByteRange::new(start, start + (64 << 10)).expect("a range");
        let found = index.runtime.block_on(index.catalog.resolve(index.manifest, range, 64)).expect("chunks");
        assert!(!found.is_empty());
        black_box(found)
    });
}
