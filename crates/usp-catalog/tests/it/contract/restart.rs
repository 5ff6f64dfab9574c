//! What was acknowledged is there when the catalogue is opened again.

use usp_model::FileRef;

use super::world::{World, act, bucket, new_run, tags};

pub(crate) async fn everything_acknowledged_is_there_after_a_restart(world: World) {
    let mut new = world.new_version("a", 1);
    new.runs = vec![new_run("profile")];
    new.labels = tags(&[("k", "v")]);
    let file = world.catalog.commit_version(act(0), new).await.unwrap().file;
    let upload = world.catalog.create_upload(act(0), world.new_upload("b")).await.unwrap();
    let before = (
        world.catalog.bucket(&bucket("default")).await.unwrap().domain_key,
        world.catalog.runs_of_file(&file.id).await.unwrap(),
        world.catalog.list_rules().await.unwrap(),
        world.catalog.usage().await.unwrap(),
        world.catalog.totals().await.unwrap(),
        world.catalog.packs().await.unwrap(),
        world.events().await,
    );
    let world = world.reopened().await;
    let after = (
        world.catalog.bucket(&bucket("default")).await.unwrap().domain_key,
        world.catalog.runs_of_file(&file.id).await.unwrap(),
        world.catalog.list_rules().await.unwrap(),
        world.catalog.usage().await.unwrap(),
        world.catalog.totals().await.unwrap(),
        world.catalog.packs().await.unwrap(),
        world.events().await,
    );
    assert_eq!(before, after);
    assert_eq!(world.catalog.file(&FileRef::Id(file.id), None).await.unwrap().file, file);
    assert_eq!(world.catalog.upload(&upload.id).await.unwrap().upload, upload);
    assert_eq!(*world.catalog.event_signal().borrow(), world.catalog.last_event().await.unwrap());
    world.catalog.ping(act(0)).await.unwrap();
}
