use usp_catalog::records::{NewUpload, NewVersion};
use usp_model::{BucketPolicy, ErrorKind, Release};

use super::world::{World, act, at, bucket, kind_of};

fn in_domain(domain: Option<&str>) -> BucketPolicy {
    BucketPolicy { dedup_domain: domain.map(str::to_owned), ..BucketPolicy::default() }
}

pub(crate) async fn a_bucket_reads_back_as_it_was_made_and_its_name_is_taken(world: World) {
    let policy =
        BucketPolicy { quota_bytes: Some(7), release: Release::AfterSuccess, ..BucketPolicy::default() };
    let made = world.catalog.create_bucket(act(5), bucket("media"), policy.clone()).await.unwrap();
    assert_eq!(made.policy, policy);
    assert_eq!(world.catalog.bucket(&bucket("media")).await.unwrap().bucket, made);
    let again = world.catalog.create_bucket(act(6), bucket("media"), policy).await;
    assert_eq!(kind_of(again), ErrorKind::Conflict);
    assert_eq!(kind_of(world.catalog.bucket(&bucket("none")).await), ErrorKind::NotFound);
}

pub(crate) async fn buckets_share_a_domain_key_just_when_they_name_the_same_domain(world: World) {
    for (name, domain) in [("one", None), ("two", None), ("red-a", Some("red")), ("red-b", Some("red"))] {
        world.catalog.create_bucket(act(0), bucket(name), in_domain(domain)).await.unwrap();
    }
    let record = async |name: &str| world.catalog.bucket(&bucket(name)).await.unwrap();
    let (one, two) = (record("one").await, record("two").await);
    let (red_a, red_b) = (record("red-a").await, record("red-b").await);
    assert_eq!((red_a.domain, &red_a.domain_key), (red_b.domain, &red_b.domain_key));
    assert_ne!(one.domain, two.domain);
    assert_ne!(one.domain_key, two.domain_key);
    assert_ne!(one.domain_key, red_a.domain_key);
}

pub(crate) async fn a_list_shows_buckets_by_name_and_only_visible_ones(world: World) {
    for name in ["zoo", "abc"] {
        world.catalog.create_bucket(act(0), bucket(name), BucketPolicy::default()).await.unwrap();
    }
    let names = async |visible| {
        let found = world.catalog.list_buckets(visible).await.unwrap();
        found.into_iter().map(|bucket| bucket.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None).await, ["abc", "default", "zoo"]);
    assert_eq!(names(Some(vec![bucket("zoo"), bucket("gone"), bucket("abc")])).await, ["abc", "zoo"]);
    assert_eq!(names(Some(Vec::new())).await, Vec::<String>::new());
}

pub(crate) async fn a_policy_changes_but_its_domain_does_not(world: World) {
    let policy = BucketPolicy { quota_bytes: Some(9), ..BucketPolicy::default() };
    let changed = world.catalog.update_bucket(act(9), &bucket("default"), policy).await.unwrap();
    assert_eq!((changed.policy.quota_bytes, changed.created_at, changed.updated_at), (Some(9), at(0), at(9)));
    assert_eq!(world.catalog.bucket(&bucket("default")).await.unwrap().bucket, changed);
    let moved = world.catalog.update_bucket(act(9), &bucket("default"), in_domain(Some("x"))).await;
    assert_eq!(kind_of(moved), ErrorKind::Conflict);
    let absent = world.catalog.update_bucket(act(9), &bucket("none"), in_domain(None)).await;
    assert_eq!(kind_of(absent), ErrorKind::NotFound);
}

pub(crate) async fn a_bucket_is_deleted_only_when_nothing_is_in_it(world: World) {
    let name = bucket("default");
    let file = world.put("a", 1).await.file;
    assert_eq!(kind_of(world.catalog.delete_bucket(act(0), &name).await), ErrorKind::Conflict);
    world.catalog.delete_file(act(1), &file.id, None).await.unwrap();
    let upload = world.catalog.create_upload(act(0), world.new_upload("b")).await.unwrap();
    assert_eq!(kind_of(world.catalog.delete_bucket(act(0), &name).await), ErrorKind::Conflict);
    world.catalog.terminate_upload(act(2), &upload.id).await.unwrap();
    let key_before = world.catalog.bucket(&name).await.unwrap().domain_key;
    world.catalog.delete_bucket(act(0), &name).await.unwrap();
    assert_eq!(kind_of(world.catalog.delete_bucket(act(0), &name).await), ErrorKind::NotFound);
    world.catalog.create_bucket(act(3), name.clone(), BucketPolicy::default()).await.unwrap();
    assert_ne!(world.catalog.bucket(&name).await.unwrap().domain_key, key_before);
}

/// What arrived for a bucket that was deleted meanwhile is named by a key that is gone: nobody could read it.
pub(crate) async fn a_content_for_a_bucket_does_not_become_one_of_its_successor(world: World) {
    let made = async || world.catalog.create_bucket(act(0), bucket("anew"), in_domain(None)).await.unwrap();
    made().await;
    let domain = world.domain_of("anew").await;
    world.catalog.delete_bucket(act(0), &bucket("anew")).await.unwrap();
    made().await;
    let late = NewVersion { bucket: bucket("anew"), domain, ..world.new_version("a", 1) };
    assert_eq!(kind_of(world.catalog.commit_version(act(0), late).await), ErrorKind::Conflict);
    let late = NewUpload { bucket: bucket("anew"), domain, ..world.new_upload("a") };
    assert_eq!(kind_of(world.catalog.create_upload(act(0), late).await), ErrorKind::Conflict);
    let domain = world.domain_of("anew").await;
    let new = NewVersion { bucket: bucket("anew"), domain, ..world.new_version("a", 1) };
    world.catalog.commit_version(act(0), new).await.unwrap();
}
