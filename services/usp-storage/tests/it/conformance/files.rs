//! Files that stand: their versions, lists, fields and end.

use usp_model::{Change, ErrorKind, FilePatch, FileQuery, FileRef, FileState, Timestamp};

use crate::support::{House, admin, bucket, key, label, random_bytes};

facts! {
    a_file_whose_time_is_over_is_deleted_with_all_its_versions,
    versions_count_up_and_each_stays_readable,
    a_deleted_file_is_gone_at_once_by_id_and_by_key,
    a_list_gives_every_file_once_page_by_page,
    a_list_can_stop_at_a_delimiter,
    a_cursor_of_another_list_is_refused,
    a_change_of_fields_touches_nothing_else,
    a_file_without_rules_is_ready_at_once,
    readiness_says_yes,
}

async fn versions_count_up_and_each_stays_readable(house: House) {
    let contents = [random_bytes(1, 70_000), random_bytes(2, 10), random_bytes(3, 300_000)];
    let mut file = house.file("a", &contents[0]).await;
    for content in &contents[1..] {
        let next = house.put(&admin(), "a", content).await.unwrap();
        assert!(!next.is_new_file);
        assert_eq!(next.file.id, file.id);
        file = next.file;
    }
    let versions = house.door.list_versions(&admin(), file.id).await.unwrap();
    assert_eq!(versions.iter().map(|file| file.version).collect::<Vec<_>>(), [3, 2, 1]);
    for (number, content) in (1..).zip(&contents) {
        assert_eq!(house.read_version(&file, number).await.unwrap(), *content);
        let one = house.door.get_file(&admin(), FileRef::Id(file.id), Some(number)).await.unwrap();
        assert_eq!((one.version, one.size_bytes), (number, content.len() as u64));
    }
    assert_eq!(house.read_version(&file, 4).await.unwrap_err().kind(), ErrorKind::NotFound);
}

async fn a_deleted_file_is_gone_at_once_by_id_and_by_key(house: House) {
    let first = house.file("a", b"first").await;
    let second = house.file("b", b"second").await;
    house.file("b", b"second, again").await;
    let at_key = FileRef::Key(bucket("default"), key("a"));
    for named in [at_key, FileRef::Id(second.id)] {
        house.door.delete_file(&admin(), named.clone(), None).await.unwrap();
        let again = house.door.delete_file(&admin(), named, None).await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::NotFound);
    }
    for file in [&first, &second] {
        for named in [FileRef::Id(file.id), FileRef::Key(file.bucket.clone(), file.key.clone())] {
            let absent = house.door.get_file(&admin(), named.clone(), None).await.unwrap_err();
            assert_eq!(absent.kind(), ErrorKind::NotFound);
            assert_eq!(house.read(&admin(), named).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        let absent = house.door.list_versions(&admin(), file.id).await.unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound);
        assert_eq!(house.door.file_status(&admin(), file.id).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    let anew = house.put(&admin(), "a", b"anew").await.unwrap();
    assert_eq!((anew.is_new_file, anew.file.version), (true, 1));
    assert_ne!(anew.file.id, first.id);
}

async fn a_list_gives_every_file_once_page_by_page(house: House) {
    const COUNT: usize = 25;
    for index in 0..COUNT {
        house.file(&format!("list/{index:02}"), b"").await;
    }
    let mut seen = Vec::new();
    let mut query = FileQuery { prefix: "list/".to_owned(), limit: 10, ..FileQuery::default() };
    loop {
        let page = house.door.list_files(&admin(), bucket("default"), query.clone()).await.unwrap();
        assert!(page.files.len() <= 10);
        seen.extend(page.files.into_iter().map(|file| file.key.to_string()));
        match page.next_cursor {
            Some(cursor) => query.cursor = Some(cursor),
            None => break,
        }
    }
    assert_eq!(seen, (0..COUNT).map(|index| format!("list/{index:02}")).collect::<Vec<_>>());
}

async fn a_list_can_stop_at_a_delimiter(house: House) {
    for at in ["2025/a", "2026/a", "2026/b", "readme"] {
        house.file(at, b"").await;
    }
    let query = FileQuery { delimiter: Some("/".to_owned()), limit: 10, ..FileQuery::default() };
    let page = house.door.list_files(&admin(), bucket("default"), query).await.unwrap();
    assert_eq!(page.prefixes, ["2025/", "2026/"]);
    assert_eq!(page.files.iter().map(|file| file.key.as_str()).collect::<Vec<_>>(), ["readme"]);
}

async fn a_cursor_of_another_list_is_refused(house: House) {
    for at in ["a/1", "a/2", "b/1"] {
        house.file(at, b"").await;
    }
    let query = FileQuery { prefix: "a/".to_owned(), limit: 1, ..FileQuery::default() };
    let page = house.door.list_files(&admin(), bucket("default"), query.clone()).await.unwrap();
    for (prefix, cursor) in [("b/", page.next_cursor.unwrap()), ("a/", "made up".to_owned())] {
        let other = FileQuery { prefix: prefix.to_owned(), cursor: Some(cursor), ..query.clone() };
        let refused = house.door.list_files(&admin(), bucket("default"), other).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    }
}

async fn a_change_of_fields_touches_nothing_else(house: House) {
    let file = house.file("a", b"content").await;
    let at = Timestamp::parse("2030-01-01T00:00:00Z").unwrap();
    let patch = FilePatch {
        labels: [(label("team"), Some("sales".to_owned())), (label("absent"), None)].into(),
        metadata: [(label("source"), Some("mail".to_owned()))].into(),
        expires_at: Change::Set(at),
        condition_etags: None,
    };
    let changed = house.door.update_file(&admin(), file.id, patch).await.unwrap();
    assert_eq!(changed.labels, [(label("team"), "sales".to_owned())].into());
    assert_eq!(changed.metadata, [(label("source"), "mail".to_owned())].into());
    assert_eq!((changed.expires_at, changed.version), (Some(at), 1));
    assert_eq!(house.read(&admin(), FileRef::Id(file.id)).await.unwrap(), b"content");
    let clear = FilePatch {
        labels: [(label("team"), None)].into(),
        expires_at: Change::Clear,
        ..FilePatch::default()
    };
    let cleared = house.door.update_file(&admin(), file.id, clear).await.unwrap();
    assert!(cleared.labels.is_empty());
    assert_eq!((cleared.expires_at, cleared.metadata), (None, changed.metadata));
}

async fn a_file_without_rules_is_ready_at_once(house: House) {
    let file = house.file("plain", b"x").await;
    assert_eq!(file.state, FileState::Ready);
    let status = house.door.file_status(&admin(), file.id).await.unwrap();
    assert_eq!((status.state, status.runs.len()), (FileState::Ready, 0));
    assert_eq!((status.upload.received_bytes, status.upload.size_bytes), (1, Some(1)));
}

async fn readiness_says_yes(house: House) {
    let readiness = house.door.readiness().await.unwrap();
    assert!(readiness.ready && readiness.waiting_for.is_empty(), "{readiness:?}");
}

async fn a_file_whose_time_is_over_is_deleted_with_all_its_versions(house: House) {
    let (soon, later, kept) = ("soon", "later", "kept");
    for at in [soon, soon, later, kept] {
        house.file(at, at.as_bytes()).await;
    }
    let second = std::time::Duration::from_secs(1);
    for (at, wait_s) in [(soon, 10), (later, 20)] {
        let file = house.find(at).await.unwrap();
        let expires_at = Change::Set(file.updated_at.plus_ms(wait_s * 1_000));
        let patch = FilePatch { expires_at, ..FilePatch::default() };
        house.door.update_file(&admin(), file.id, patch).await.unwrap();
    }
    house.advance(9 * second);
    house.storage.forget_the_past().await.unwrap();
    house.find(soon).await.unwrap();
    house.advance(2 * second);
    house.storage.forget_the_past().await.unwrap();
    assert_eq!(house.find(soon).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(house.usage().await.versions, 2, "both versions went");
    // A new version has a time of its own, or none.
    house.file(later, b"again").await;
    house.advance(60 * second);
    house.storage.forget_the_past().await.unwrap();
    assert_eq!(house.find(later).await.unwrap().version, 2);
    house.find(kept).await.unwrap();
}
