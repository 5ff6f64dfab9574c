//! Transfers that do not end well: they leave all of a file or nothing of it.

use std::pin::pin;
use std::task::Poll;

use usp_api::{NewBucket, NewFile};
use usp_model::{BucketPolicy, ErrorKind, FileRef};

use crate::support::{
    CHECKPOINT_BYTES, House, admin, broken_after, bucket, eventually, key, pieces, random_bytes, tap,
};

facts! {
    a_stream_that_breaks_stores_nothing_and_tells_why,
    a_put_whose_caller_goes_away_stores_nothing,
    a_put_dropped_at_any_moment_leaves_all_or_nothing,
    two_puts_of_one_content_at_once_both_succeed,
    a_bucket_that_was_made_anew_takes_nothing_that_began_before,
    a_change_of_a_bucket_counts_though_its_caller_goes_away,
}

async fn a_stream_that_breaks_stores_nothing_and_tells_why(house: House) {
    let stood = house.file("kept", b"what stood before").await;
    let before = house.usage().await;
    for size in [0, 10, 4 * CHECKPOINT_BYTES + 7] {
        let content = broken_after(&random_bytes(1, size));
        let error = house.put_stream(&admin(), "kept", content).await.unwrap_err();
        assert_eq!((error.kind(), error.detail().as_str()), (ErrorKind::RateLimited, "the client went away"));
    }
    house.until_no_upload_is_open().await;
    assert_eq!(house.usage().await, before);
    assert_eq!(house.find("kept").await.unwrap(), stood);
}

async fn a_put_whose_caller_goes_away_stores_nothing(house: House) {
    let (mut tap, content) = tap();
    let (door, file) = (house.door.clone(), NewFile::at(bucket("default"), key("left")));
    let putting = tokio::spawn(async move { door.put(&admin(), file, content).await.map(drop) });
    tap.pour(&random_bytes(2, 3 * CHECKPOINT_BYTES)).await;
    eventually("the hidden session", async || (house.open_uploads().await == 1).then_some(())).await;
    putting.abort();
    house.until_no_upload_is_open().await;
    assert_eq!(house.usage().await.files, 0);
    assert_eq!(house.find("left").await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn a_put_dropped_at_any_moment_leaves_all_or_nothing(house: House) {
    let mut poll_count = 0;
    loop {
        let bytes = random_bytes(poll_count, CHECKPOINT_BYTES + CHECKPOINT_BYTES / 2);
        let at = format!("dropped/{poll_count}");
        let ended = drop_after(house.put_stream(&admin(), &at, pieces(&bytes)), poll_count).await;
        let stored = match house.find(&at).await {
            Ok(file) => {
                assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), bytes);
                true
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotFound);
                false
            }
        };
        if ended {
            assert!(stored, "a put that said yes has stored");
            break;
        }
        poll_count += 1;
    }
    house.until_no_upload_is_open().await;
}

async fn a_bucket_that_was_made_anew_takes_nothing_that_began_before(house: House) {
    house.bucket("anew", BucketPolicy::default()).await;
    for size in [1_000, 2 * CHECKPOINT_BYTES] {
        let bytes = random_bytes(3, size);
        let (mut tap, content) = tap();
        let (door, file) = (house.door.clone(), NewFile::at(bucket("anew"), key("late")));
        let putting = tokio::spawn(async move { door.put(&admin(), file, content).await });
        tap.pour(&bytes[..500]).await;
        house.door.delete_bucket(&admin(), bucket("anew")).await.unwrap();
        house.bucket("anew", BucketPolicy::default()).await;
        // It may have ended at its first checkpoint, and then takes no more.
        let _refused = tap.try_pour(&bytes[500..]).await;
        drop(tap);
        assert_eq!(putting.await.unwrap().unwrap_err().kind(), ErrorKind::Conflict, "{size} bytes");
        house.until_no_upload_is_open().await;
    }
    let file = NewFile::at(bucket("anew"), key("new"));
    let stored = house.door.put(&admin(), file, pieces(b"fresh")).await.unwrap().file;
    assert_eq!(house.read(&admin(), FileRef::Id(stored.id)).await.unwrap(), b"fresh");
}

async fn a_change_of_a_bucket_counts_though_its_caller_goes_away(house: House) {
    for poll_count in 0..8 {
        let name = format!("left-{poll_count}");
        house.bucket(&name, BucketPolicy::default()).await;
        house.door.get_bucket(&admin(), bucket(&name)).await.unwrap();
        drop_after(house.door.delete_bucket(&admin(), bucket(&name)), poll_count).await;
        // Whether or not it began, what is found now is what stands.
        let made = NewBucket { name: bucket(&name), policy: BucketPolicy::default() };
        eventually("the name to be taken or free", async || {
            match house.door.create_bucket(&admin(), made.clone()).await {
                Ok(_) => Some(()),
                Err(error) => (error.kind() == ErrorKind::Conflict).then_some(()),
            }
        })
        .await;
        let file = NewFile::at(bucket(&name), key("a"));
        if let Ok(stored) = house.door.put(&admin(), file, pieces(b"fresh")).await {
            assert_eq!(house.read(&admin(), FileRef::Id(stored.file.id)).await.unwrap(), b"fresh");
        }
    }
}

/// Polls `count` times and drops what is left; whether it came to its end before.
async fn drop_after(running: impl Future, count: u64) -> bool {
    let mut running = pin!(running);
    let mut polled = 0;
    std::future::poll_fn(|context| {
        if polled == count {
            return Poll::Ready(false);
        }
        polled += 1;
        running.as_mut().poll(context).map(|_| true)
    })
    .await
}

async fn two_puts_of_one_content_at_once_both_succeed(house: House) {
    let bytes = random_bytes(3, 3 * CHECKPOINT_BYTES);
    let (a, b) =
        futures::future::join(house.put(&admin(), "twins/a", &bytes), house.put(&admin(), "twins/b", &bytes))
            .await;
    for outcome in [a, b] {
        let file = outcome.unwrap().file;
        assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), bytes);
    }
}
