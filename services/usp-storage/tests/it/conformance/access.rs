//! Who may do what to which object, for every call.

use futures::future::BoxFuture;
use usp_api::{Caller, NewApiKey, NewBucket, NewFile, NewUser, ReadFile, UserPatch};
use usp_model::{
    ApiKeyId, BucketPolicy, ErrorKind, EventQuery, FileId, FilePatch, FileQuery, FileRef, Result, Role,
    RunId, RunQuery, UploadId,
};

use usp_storage::parse_rules;

use crate::support::{
    House, admin, bucket, in_all_buckets, in_bucket, key, pieces, rule, sha256_of, stranger, user, worker,
};

facts! {
    every_call_in_a_bucket_takes_its_role,
    every_call_about_the_installation_takes_its_role_in_all_buckets,
    only_services_lease_and_report,
    a_foreign_bucket_and_an_absent_one_answer_alike,
    foreign_ids_and_absent_ones_answer_alike,
    lists_show_only_what_the_caller_may_read,
    an_upload_belongs_to_who_began_it_and_to_managers,
    what_is_known_is_told_only_to_who_may_write_there,
}

/// What the calls of the table are about. It stands in the bucket `default`.
struct Scene {
    file: FileId,
    run: RunId,
}

impl Scene {
    async fn set(house: &House) -> Self {
        let file = house.file("scene", b"content").await.id;
        let run = house.door.create_run(&admin(), file, rule("by-hand")).await.unwrap().id;
        Self { file, run }
    }
}

type Call = for<'a> fn(&'a House, &'a Caller, &'a Scene) -> BoxFuture<'a, Result<()>>;

/// Makes a row: the call, the least role, and how to call without doing harm.
macro_rules! calls {
    ($($name:ident takes $role:ident: |$house:ident, $caller:ident, $scene:ident| $call:expr;)+) => {
        vec![$((
            stringify!($name),
            Role::$role,
            (|$house, $caller, $scene| {
                let _ = &$scene;
                Box::pin(async move { $call.await.map(drop) })
            }) as Call,
        )),+]
    };
}

fn calls_in_a_bucket() -> Vec<(&'static str, Role, Call)> {
    let mut calls = reading_calls();
    calls.extend(changing_calls());
    calls
}

fn written() -> usp_model::Rule {
    parse_rules("name: written\nsteps: [{name: only, uses: sniff}]").unwrap().remove(0)
}

fn reading_calls() -> Vec<(&'static str, Role, Call)> {
    calls! {
        get_bucket takes Reader: |h, c, s| h.door.get_bucket(c, bucket("default"));
        get_file takes Reader: |h, c, s| h.door.get_file(c, FileRef::Id(s.file), None);
        get_file_by_key takes Reader:
            |h, c, s| h.door.get_file(c, FileRef::Key(bucket("default"), key("scene")), None);
        list_versions takes Reader: |h, c, s| h.door.list_versions(c, s.file);
        list_files takes Reader:
            |h, c, s| h.door.list_files(c, bucket("default"), FileQuery { limit: 1, ..FileQuery::default() });
        file_status takes Reader: |h, c, s| h.door.file_status(c, s.file);
        read takes Reader:
            |h, c, s| h.door.read(c, ReadFile { file: FileRef::Id(s.file), version: None, range: None, coding: usp_api::Coding::Plain });
        get_run takes Reader: |h, c, s| h.door.get_run(c, s.run);
        list_runs_of_bucket takes Reader:
            |h, c, s| h.door.list_runs(c, RunQuery { bucket: Some(bucket("default")), ..RunQuery::default() });
        list_runs_of_file takes Reader:
            |h, c, s| h.door.list_runs(c, RunQuery { file: Some(s.file), ..RunQuery::default() });
        watch_bucket takes Reader:
            |h, c, s| h.door.watch(c, EventQuery { bucket: Some(bucket("default")), ..EventQuery::default() });
        watch_file takes Reader:
            |h, c, s| h.door.watch(c, EventQuery { file: Some(s.file), ..EventQuery::default() });
    }
}

fn changing_calls() -> Vec<(&'static str, Role, Call)> {
    calls! {
        put takes Writer: |h, c, s| h.put(c, "another", b"");
        start_upload takes Writer:
            |h, c, s| h.door.start_upload(c, NewFile::at(bucket("default"), key("begun")));
        start_part takes Writer: |h, c, s| h.door.start_part(c, bucket("default"), None);
        update_file takes Writer: |h, c, s| h.door.update_file(c, s.file, FilePatch::default());
        delete_file takes Writer:
            |h, c, s| h.door.delete_file(c, FileRef::Id(s.file), Some(vec!["stale".to_owned()]));
        delete_file_by_key takes Writer: |h, c, s| h.door.delete_file(
            c,
            FileRef::Key(bucket("default"), key("scene")),
            Some(vec!["stale".to_owned()]),
        );
        known_contents takes Writer: |h, c, s| h.door.known_contents(c, bucket("default"), Vec::new());
        create_run takes Writer: |h, c, s| h.door.create_run(c, s.file, rule("by-hand"));
        cancel_run takes Writer: |h, c, s| h.door.cancel_run(c, s.run);
        retry_run takes Writer: |h, c, s| h.door.retry_run(c, s.run);
        retry_runs takes Writer:
            |h, c, s| h.door.retry_runs(c, RunQuery { bucket: Some(bucket("default")), ..RunQuery::default() });
        update_bucket takes Manager:
            |h, c, s| h.door.update_bucket(c, bucket("default"), BucketPolicy::default());
        delete_bucket takes Admin: |h, c, s| h.door.delete_bucket(c, bucket("default"));
    }
}

fn calls_about_the_installation() -> Vec<(&'static str, Role, Call)> {
    calls! {
        list_rules takes Reader: |h, c, s| h.door.list_rules(c);
        get_rule takes Reader: |h, c, s| h.door.get_rule(c, rule("audit"));
        test_rule takes Reader: |h, c, s| h.door.test_rule(c, rule("audit"), FileRef::Id(s.file));
        create_bucket takes Manager: |h, c, s| h.door.create_bucket(
            c,
            NewBucket { name: bucket("made-by-role"), policy: BucketPolicy::default() },
        );
        put_rule takes Manager: |h, c, s| h.door.put_rule(c, written());
        delete_rule takes Manager: |h, c, s| h.door.delete_rule(c, rule("audit"));
        stats takes Manager: |h, c, s| h.door.stats(c);
        collect takes Admin: |h, c, s| h.door.collect(c, true);
        list_users takes Admin: |h, c, s| h.door.list_users(c);
        create_user takes Admin: |h, c, s| h.door.create_user(
            c,
            NewUser { name: user("made-by-role"), password: None, grants: Vec::new() },
        );
        update_user takes Admin: |h, c, s| h.door.update_user(c, user("nobody"), UserPatch::default());
        delete_user takes Admin: |h, c, s| h.door.delete_user(c, user("nobody"));
        create_api_key_for_others takes Admin: |h, c, s| h.door.create_api_key(
            c,
            NewApiKey { user: Some(user("nobody")), name: "x".to_owned(), grants: Vec::new(), ttl_s: None },
        );
    }
}

/// Passed the gate: whatever happened then has nothing to do with roles. Users of this scene do not exist.
fn is_let_in(outcome: &Result<()>, of_users: bool) -> bool {
    match outcome.as_ref().map_err(usp_model::Error::kind) {
        Err(ErrorKind::NotFound) => of_users,
        Err(kind) => kind != ErrorKind::Denied,
        Ok(()) => true,
    }
}

async fn every_call_in_a_bucket_takes_its_role(house: House) {
    let scene = Scene::set(&house).await;
    house.bucket("elsewhere", BucketPolicy::default()).await;
    for (name, least, call) in calls_in_a_bucket() {
        for nobody in [stranger(), in_bucket("far", "elsewhere", Role::Admin)] {
            let outcome = call(&house, &nobody, &scene).await.unwrap_err();
            assert_eq!(outcome.kind(), ErrorKind::NotFound, "{name} by {}", nobody.principal.name);
        }
        for role in Role::ALL {
            for caller in [in_bucket("alice", "default", *role), in_all_buckets("bob", *role)] {
                let outcome = call(&house, &caller, &scene).await;
                if *role >= least {
                    assert!(is_let_in(&outcome, false), "{name} by a {role}: {outcome:?}");
                } else {
                    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "{name} by a {role}");
                }
            }
        }
    }
}

async fn every_call_about_the_installation_takes_its_role_in_all_buckets(house: House) {
    let scene = Scene::set(&house).await;
    for (name, least, call) in calls_about_the_installation() {
        for nobody in [stranger(), in_bucket("alice", "default", Role::Admin)] {
            let outcome = call(&house, &nobody, &scene).await.unwrap_err();
            assert_eq!(outcome.kind(), ErrorKind::Denied, "{name} by {}", nobody.principal.name);
        }
        for role in Role::ALL {
            let outcome = call(&house, &in_all_buckets("bob", *role), &scene).await;
            if *role >= least {
                assert!(is_let_in(&outcome, name.contains("user") || name.contains("others")), "{outcome:?}");
            } else {
                assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Denied, "{name} by a {role}");
            }
        }
    }
}

async fn only_services_lease_and_report(house: House) {
    Scene::set(&house).await;
    let leased = house.lease().await;
    let report = usp_model::RunReport {
        run: leased.run.id,
        lease_no: leased.lease_no,
        steps: Vec::new(),
        outcome: Some(usp_model::RunOutcome::Succeeded),
    };
    for caller in [stranger(), admin()] {
        let refused = house.door.lease_runs(&caller, "thief".to_owned(), 1, 0).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied);
        let refused = house.door.report_run(&caller, report.clone()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Denied);
    }
    let held = house.door.report_run(&worker(), report).await.unwrap();
    assert_eq!(held, usp_model::ReportOutcome::Held { run_cancelled: false });
}

/// All that a caller is told.
fn told(error: &usp_model::Error) -> (ErrorKind, String, usize, Option<std::time::Duration>) {
    (error.kind(), error.detail(), error.violations().len(), error.retry_after_hint())
}

async fn a_foreign_bucket_and_an_absent_one_answer_alike(house: House) {
    let alice = in_bucket("alice", "default", Role::Admin);
    let door = &house.door;
    let ask = async || {
        let there = || bucket("foreign");
        let at = || FileRef::Key(there(), key("a"));
        let new = || NewFile::at(there(), key("a"));
        let runs = RunQuery { bucket: Some(there()), ..RunQuery::default() };
        vec![
            door.get_bucket(&alice, there()).await.unwrap_err(),
            door.update_bucket(&alice, there(), BucketPolicy::default()).await.unwrap_err(),
            door.delete_bucket(&alice, there()).await.unwrap_err(),
            door.list_files(&alice, there(), FileQuery::default()).await.unwrap_err(),
            door.get_file(&alice, at(), None).await.unwrap_err(),
            door.delete_file(&alice, at(), None).await.unwrap_err(),
            door.start_upload(&alice, new()).await.unwrap_err(),
            door.put(&alice, new(), pieces(b"x")).await.unwrap_err(),
            door.known_contents(&alice, there(), vec![sha256_of(b"x")]).await.unwrap_err(),
            door.list_runs(&alice, runs).await.unwrap_err(),
        ]
    };
    let absent = ask().await;
    house.bucket("foreign", BucketPolicy::default()).await;
    let file = NewFile::at(bucket("foreign"), key("a"));
    house.door.put(&admin(), file, pieces(b"x")).await.unwrap();
    let foreign = ask().await;
    for (absent, foreign) in absent.iter().zip(&foreign) {
        assert_eq!(told(absent), told(foreign));
        assert_eq!(absent.kind(), ErrorKind::NotFound);
    }
    // Whoever sees all buckets is told of an absent one in the same words.
    let nowhere = house.door.get_bucket(&admin(), bucket("nowhere")).await.unwrap_err();
    let unseen = house.door.get_bucket(&alice, bucket("nowhere")).await.unwrap_err();
    assert_eq!(told(&nowhere), told(&unseen));
}

async fn foreign_ids_and_absent_ones_answer_alike(house: House) {
    let scene = Scene::set(&house).await;
    let upload = NewFile::at(bucket("default"), key("begun"));
    let upload = house.door.start_upload(&admin(), upload).await.unwrap();
    let door = &house.door;
    let alice = in_bucket("alice", "elsewhere", Role::Admin);
    let ask = async |file: FileId, run: RunId, upload: UploadId, key: ApiKeyId| {
        let read =
            ReadFile { file: FileRef::Id(file), version: None, range: None, coding: usp_api::Coding::Plain };
        let watch = EventQuery { file: Some(file), ..EventQuery::default() };
        vec![
            door.get_file(&alice, FileRef::Id(file), None).await.unwrap_err(),
            door.list_versions(&alice, file).await.unwrap_err(),
            door.file_status(&alice, file).await.unwrap_err(),
            door.update_file(&alice, file, FilePatch::default()).await.unwrap_err(),
            door.delete_file(&alice, FileRef::Id(file), None).await.unwrap_err(),
            door.create_run(&alice, file, rule("by-hand")).await.unwrap_err(),
            door.read(&alice, read).await.unwrap_err(),
            door.watch(&alice, watch).await.map(drop).unwrap_err(),
            door.get_run(&alice, run).await.unwrap_err(),
            door.retry_run(&alice, run).await.unwrap_err(),
            door.cancel_run(&alice, run).await.unwrap_err(),
            door.get_upload(&alice, upload).await.unwrap_err(),
            door.finish_upload(&alice, upload, Vec::new()).await.unwrap_err(),
            door.terminate_upload(&alice, upload).await.unwrap_err(),
            door.revoke_api_key(&alice, key).await.unwrap_err(),
        ]
    };
    let made = NewUser { name: user("root"), password: None, grants: admin().principal.grants };
    house.door.create_user(&admin(), made).await.unwrap();
    let made = NewApiKey { user: None, name: "x".to_owned(), grants: Vec::new(), ttl_s: None };
    let api_key = house.door.create_api_key(&admin(), made).await.unwrap().key.id;
    let foreign = ask(scene.file, scene.run, upload.id, api_key).await;
    let absent = ask(
        FileId::random().unwrap(),
        RunId::random().unwrap(),
        UploadId::random().unwrap(),
        ApiKeyId::random().unwrap(),
    )
    .await;
    for (foreign, absent) in foreign.iter().zip(&absent) {
        assert_eq!(told(foreign), told(absent));
        assert_eq!(absent.kind(), ErrorKind::NotFound);
    }
}

async fn lists_show_only_what_the_caller_may_read(house: House) {
    house.bucket("hers", BucketPolicy::default()).await;
    for name in ["hers", "default"] {
        let mut file = NewFile::at(bucket(name), key("a"));
        file.rule = Some(rule("by-hand"));
        house.door.put(&admin(), file, pieces(b"x")).await.unwrap();
    }
    let alice = in_bucket("alice", "hers", Role::Reader);
    let buckets = house.door.list_buckets(&alice).await.unwrap();
    assert_eq!(buckets.iter().map(|bucket| bucket.name.as_str()).collect::<Vec<_>>(), ["hers"]);
    let runs = house.door.list_runs(&alice, RunQuery { limit: 10, ..RunQuery::default() }).await.unwrap();
    assert_eq!(runs.runs.iter().map(|run| run.bucket.as_str()).collect::<Vec<_>>(), ["hers"]);
    assert_eq!(house.door.list_buckets(&admin()).await.unwrap().len(), 2);
    assert!(house.door.list_buckets(&stranger()).await.unwrap().is_empty());
    // What a caller claims to see does not count.
    let claim = RunQuery { limit: 10, buckets: Some(vec![bucket("default")]), ..RunQuery::default() };
    let runs = house.door.list_runs(&alice, claim).await.unwrap();
    assert!(runs.runs.iter().all(|run| run.bucket.as_str() == "hers"));
}

async fn an_upload_belongs_to_who_began_it_and_to_managers(house: House) {
    let alice = in_bucket("alice", "default", Role::Writer);
    let upload = NewFile::at(bucket("default"), key("hers"));
    let upload = house.door.start_upload(&alice, upload).await.unwrap();
    assert_eq!(house.door.get_upload(&alice, upload.id).await.unwrap(), upload);
    let bob = in_bucket("bob", "default", Role::Writer);
    assert_eq!(house.door.get_upload(&bob, upload.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    // The grant was taken back meanwhile.
    let alice_now = in_bucket("alice", "default", Role::Reader);
    assert_eq!(house.door.get_upload(&alice_now, upload.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    let manager = in_bucket("carol", "default", Role::Manager);
    house.door.terminate_upload(&manager, upload.id).await.unwrap();
}

async fn what_is_known_is_told_only_to_who_may_write_there(house: House) {
    house.bucket("apart", BucketPolicy::default()).await;
    house.file("a", b"known").await;
    let asked = vec![sha256_of(b"known"), sha256_of(b"unknown")];
    let writer = in_bucket("alice", "default", Role::Writer);
    let told = house.door.known_contents(&writer, bucket("default"), asked.clone()).await.unwrap();
    assert_eq!(told, [sha256_of(b"known")]);
    let told = house.door.known_contents(&admin(), bucket("apart"), asked.clone()).await.unwrap();
    assert!(told.is_empty(), "another dedup domain knows nothing of it");
    let reader = in_bucket("bob", "default", Role::Reader);
    let refused = house.door.known_contents(&reader, bucket("default"), asked).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    let too_many = vec![sha256_of(b"known"); 10_001];
    let refused = house.door.known_contents(&writer, bucket("default"), too_many).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
}
