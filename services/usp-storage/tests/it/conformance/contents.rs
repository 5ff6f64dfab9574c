//! What goes in comes out, whole or in part, and every byte is kept once.

use usp_api::NewFile;
use usp_content::ChunkBounds;
use usp_model::{BucketPolicy, ContentDigest, DigestAlgorithm, ErrorKind, FileRef};

use crate::support::{CHECKPOINT_BYTES, House, admin, bucket, key, pieces, random_bytes, sha256_of};

facts! {
    bytes_read_back_equal_bytes_put_at_every_bound,
    five_mebibytes_through_many_sessions_read_back_whole,
    a_content_that_stands_already_costs_nothing,
    a_range_gives_its_bytes_and_no_more,
    a_range_outside_the_content_is_refused,
    a_content_of_another_digest_stores_nothing,
    every_digest_that_was_announced_is_checked,
    a_content_of_another_length_than_announced_stores_nothing,
}

async fn bytes_read_back_equal_bytes_put_at_every_bound(house: House) {
    let bounds = ChunkBounds::default();
    let (min, max) = (bounds.size_bytes_min() as usize, bounds.size_bytes_max() as usize);
    let sizes = [0, 1, min - 1, min, min + 1, max - 1, max, max + 1, CHECKPOINT_BYTES - 1, CHECKPOINT_BYTES];
    for (seed, size) in (1..).zip(sizes) {
        let bytes = random_bytes(seed, size);
        let file = house.file(&format!("of/{size}"), &bytes).await;
        assert_eq!(file.size_bytes, size as u64);
        assert_eq!(file.digests[&DigestAlgorithm::Sha256], sha256_of(&bytes));
        assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), bytes, "{size} bytes");
    }
}

async fn five_mebibytes_through_many_sessions_read_back_whole(house: House) {
    let bytes = random_bytes(1, 5 << 20);
    let file = house.file("big", &bytes).await;
    assert!(file.stored.chunks > 5 << 20 >> 17, "{} chunks", file.stored.chunks);
    assert!(file.stored.bytes >= 5 << 20);
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), bytes);
    assert_eq!(house.open_uploads().await, 0);
}

async fn a_content_that_stands_already_costs_nothing(house: House) {
    let bytes = random_bytes(2, 2 << 20);
    let first = house.file("first", &bytes).await;
    let second = house.file("second", &bytes).await;
    assert_eq!(second.stored.bytes, 0);
    assert_eq!(second.stored.deduplicated_bytes, bytes.len() as u64);
    assert_eq!(second.stored.chunks, first.stored.chunks);
    assert_eq!(house.read(&admin(), FileRef::Id(second.id)).await.unwrap(), bytes);
}

async fn a_range_gives_its_bytes_and_no_more(house: House) {
    const SIZE: usize = 1 << 20;
    let bytes = random_bytes(3, SIZE);
    let file = house.file("ranged", &bytes).await;
    for (start, end) in [
        (0, 0),
        (0, 1),
        (SIZE - 1, SIZE),
        (SIZE, SIZE),
        (0, SIZE),
        (31_999, 33_001),
        (500_000, 500_001),
        (1, SIZE - 1),
    ] {
        let part = house.read_range(&file, start as u64, end as u64).await.unwrap();
        assert_eq!(part, bytes[start..end], "{start}..{end}");
    }
}

async fn a_range_outside_the_content_is_refused(house: House) {
    let file = house.file("short", b"ten bytes!").await;
    for (start, end) in [(0, 11), (10, 11), (11, 11), (u64::MAX - 1, u64::MAX)] {
        let refused = house.read_range(&file, start, end).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::OutOfRange, "{start}..{end}");
    }
}

async fn a_content_of_another_digest_stores_nothing(house: House) {
    let stood = house.file("kept", b"what stood before").await;
    let before = house.usage().await;
    for (size, at) in [(10, "kept"), (10, "new"), (4 * CHECKPOINT_BYTES, "kept")] {
        let mut file = NewFile::at(bucket("default"), key(at));
        file.expected_digests = vec![ContentDigest::new(DigestAlgorithm::Sha256, vec![0; 32]).unwrap()];
        let refused = house.door.put(&admin(), file, pieces(&random_bytes(4, size))).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DigestMismatch);
    }
    house.until_no_upload_is_open().await;
    assert_eq!(house.usage().await, before);
    assert_eq!(house.find("kept").await.unwrap(), stood);
    assert_eq!(house.find("new").await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn every_digest_that_was_announced_is_checked(house: House) {
    let policy = BucketPolicy { digests: DigestAlgorithm::ALL.to_vec(), ..BucketPolicy::default() };
    house.bucket("digested", policy).await;
    let bytes = random_bytes(5, 3 * CHECKPOINT_BYTES);
    let file = NewFile::at(bucket("digested"), key("a"));
    let known = house.door.put(&admin(), file, pieces(&bytes)).await.unwrap().file.digests;
    assert_eq!(known.len(), DigestAlgorithm::ALL.len());
    for (algorithm, hex) in known {
        let right = ContentDigest::from_hex(algorithm, &hex).unwrap();
        let mut wrong = right.as_bytes().to_vec();
        wrong[0] ^= 1;
        let mut file = NewFile::at(bucket("default"), key(algorithm.as_str()));
        file.expected_digests = vec![ContentDigest::new(algorithm, wrong).unwrap()];
        let refused = house.door.put(&admin(), file.clone(), pieces(&bytes)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::DigestMismatch, "{algorithm}");
        file.expected_digests = vec![right];
        house.door.put(&admin(), file, pieces(&bytes)).await.unwrap();
    }
}

async fn a_content_of_another_length_than_announced_stores_nothing(house: House) {
    for announced in [9, 11] {
        let mut file = NewFile::at(bucket("default"), key("announced"));
        file.size_bytes = Some(announced);
        let refused = house.door.put(&admin(), file, pieces(b"ten bytes!")).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(house.usage().await.files, 0);
}
