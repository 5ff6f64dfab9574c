//! Bytes that rot on the disk: told as damage, never served, never counted as stored, and mended by whoever brings them
//! again.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use usp_model::{ErrorKind, FileRef};

use crate::support::{Door, House, admin, random_bytes};

/// Flips a byte in the middle of the pack.
fn damage(house: &House) {
    let pack = house.pack();
    let middle = fs::metadata(&pack).unwrap().len() / 2;
    let file = OpenOptions::new().read(true).write(true).open(pack).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, middle).unwrap();
    file.write_all_at(&[byte[0] ^ 1], middle).unwrap();
}

#[tokio::test]
async fn a_damaged_content_is_told_before_its_first_byte() {
    let house = House::open_quietly(Door::InProcess, std::time::Duration::from_secs(60)).await;
    let bytes = random_bytes(1, 10_000);
    let file = house.file("one.bin", &bytes).await;
    damage(&house);
    let error = house.read(&admin(), FileRef::Id(file.id)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn bytes_that_failed_their_check_are_stored_anew_and_mend_the_file_that_had_them() {
    let house = House::open_quietly(Door::InProcess, std::time::Duration::from_secs(60)).await;
    let bytes = random_bytes(2, 1_000_000);
    let first = house.file("first.bin", &bytes).await;
    damage(&house);
    let error = house.read(&admin(), FileRef::Id(first.id)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let second = house.file("second.bin", &bytes).await;
    assert!(second.stored.bytes > 0, "the damaged chunk was taken for stored");
    assert_eq!(house.read(&admin(), FileRef::Id(second.id)).await.unwrap(), bytes);
    assert_eq!(house.read(&admin(), FileRef::Id(first.id)).await.unwrap(), bytes);
}
