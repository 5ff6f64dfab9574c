//! The public gRPC services.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::StreamExt;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use usp_proto::gateway::GetFileStatusRequest;
use usp_proto::gateway::api_gateway_service_client::ApiGatewayServiceClient;
use usp_proto::processor::file_processor_service_client::FileProcessorServiceClient;
use usp_proto::processor::{ListRunsRequest, WatchRunsRequest};
use usp_proto::shared::{
    DeleteFileRequest, Digests, FileState, GetFileMetadataRequest, ListFilesRequest, PrepareUploadRequest,
    RunState,
};
use usp_proto::storage::file_storage_service_client::FileStorageServiceClient;
use usp_proto::storage::read_file_response::Part as ReadPart;
use usp_proto::storage::upload_request::Part;
use usp_proto::storage::{ReadFileRequest, UploadHeader, UploadRequest, UploadResponse, WatchFileRequest};
use usp_testkit::generate::{bytes, csv, sha256_hex};
use usp_testkit::{Installation, PATIENCE, until};

use crate::everywhere;

/// One caller of all services.
struct Caller {
    channel: Channel,
    token: String,
}

impl Caller {
    async fn of(usp: &Installation, args: &[&str]) -> Result<Self> {
        let channel = Channel::from_shared(format!("http://{}", usp.grpc_address()?))?.connect().await?;
        Ok(Self { channel, token: usp.token(args).await? })
    }

    fn sign<T>(&self, message: T) -> Result<Request<T>> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {}", self.token).parse()?);
        Ok(request)
    }

    fn storage(&self) -> FileStorageServiceClient<Channel> {
        FileStorageServiceClient::new(self.channel.clone())
    }

    async fn upload(&self, header: UploadHeader, content: &[u8]) -> Result<Result<UploadResponse, Status>> {
        let mut messages = vec![UploadRequest { part: Some(Part::Header(header)) }];
        let chunks = content.chunks(100_000).map(|chunk| Part::Chunk(chunk.to_vec().into()));
        messages.extend(chunks.map(|part| UploadRequest { part: Some(part) }));
        let answer = self.storage().upload(self.sign(futures::stream::iter(messages))?).await;
        Ok(answer.map(tonic::Response::into_inner))
    }

    async fn read(&self, request: ReadFileRequest) -> Result<Vec<u8>> {
        let mut stream = self.storage().read_file(self.sign(request)?).await?.into_inner();
        let head = stream.next().await.context("no head")??;
        assert!(matches!(head.part, Some(ReadPart::Head(_))), "{head:?}");
        let mut content = Vec::new();
        while let Some(message) = stream.next().await {
            match message?.part {
                Some(ReadPart::Chunk(chunk)) => content.extend_from_slice(&chunk),
                other => anyhow::bail!("no chunk but {other:?}"),
            }
        }
        Ok(content)
    }
}

fn header(key: &str) -> UploadHeader {
    UploadHeader { key: key.to_owned(), ..UploadHeader::default() }
}

#[tokio::test]
async fn a_streamed_upload_reads_back_whole_and_in_ranges() -> Result<()> {
    everywhere(async |usp| {
        let caller = Caller::of(usp, &["--user", "ada", "--role", "writer"]).await?;
        let content = bytes(31, 2_500_000);
        let stored = caller.upload(header("noise.bin"), &content).await??;
        assert_eq!(stored.received_bytes, 2_500_000);
        let file = stored.file.context("no file")?;
        assert_eq!(file.digests.clone().unwrap_or_default().sha256, sha256_hex(&content));
        assert_eq!((file.owner.as_str(), file.version), ("ada", 1));
        let by_id = ReadFileRequest { file_id: file.id.clone(), ..ReadFileRequest::default() };
        assert!(caller.read(by_id).await? == content);
        let range = ReadFileRequest {
            key: "noise.bin".to_owned(),
            offset_bytes: 1_000_000,
            length_bytes: Some(70_000),
            ..ReadFileRequest::default()
        };
        assert!(caller.read(range).await? == content[1_000_000..1_070_000]);
        // The other door shows the same file.
        let rest =
            usp.admin().await?.get(&usp_testkit::file_path("default", "noise.bin")).await?.must(200)?;
        assert!(rest.body == content);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn open_watches_do_not_hold_up_a_stop() -> Result<()> {
    everywhere(async |usp| {
        let caller = Caller::of(usp, &["--role", "admin"]).await?;
        let _runs = FileProcessorServiceClient::new(caller.channel.clone())
            .watch_runs(caller.sign(WatchRunsRequest::default())?)
            .await?;
        let asked = HealthCheckRequest { service: String::new() };
        let mut health = HealthClient::new(caller.channel.clone()).watch(asked).await?.into_inner();
        assert_eq!(health.message().await?.context("no status")?.status, i32::from(ServingStatus::Serving));
        for stopped in usp.stop().await? {
            assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
            assert!(stopped.took < Duration::from_secs(15), "{stopped:?}");
        }
        assert_eq!(
            health.message().await?.context("no status")?.status,
            i32::from(ServingStatus::NotServing)
        );
        Ok(())
    })
    .await
}

/// A cancelled stream looks like one that ended, to whoever asks the library only.
#[tokio::test]
async fn an_upload_that_is_cancelled_stores_nothing() -> Result<()> {
    everywhere(async |usp| {
        let caller = Caller::of(usp, &["--role", "writer"]).await?;
        let content = bytes(34, 400_000);
        for number in 0..5 {
            let key = format!("cancelled-{number}");
            let parts = [Part::Header(header(&key)), Part::Chunk(content.clone().into())];
            let messages = parts.map(|part| UploadRequest { part: Some(part) });
            let (all_taken, taken) = tokio::sync::oneshot::channel();
            let rest = async {
                let _unheard = all_taken.send(());
                std::future::pending().await
            };
            let stream = futures::stream::iter(messages).chain(futures::stream::once(rest));
            let request = caller.sign(stream)?;
            let mut storage = caller.storage();
            tokio::select! {
                answer = storage.upload(request) => anyhow::bail!("an upload without an end has an answer: {answer:?}"),
                sent = taken => sent?,
            }
            // The call is dropped, which cancels it.
            let whole = caller.upload(header(&key), &content).await??;
            assert_eq!(whole.file.context("no file")?.version, 1, "{key}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_prepared_upload_goes_on_where_it_stopped() -> Result<()> {
    everywhere(async |usp| {
        let caller = Caller::of(usp, &["--role", "writer"]).await?;
        let content = csv(32, 10_000).into_bytes();
        let prepare = PrepareUploadRequest {
            key: "resumed.csv".to_owned(),
            size_bytes: Some(content.len() as u64),
            ..PrepareUploadRequest::default()
        };
        let prepared = caller.storage().prepare_upload(caller.sign(prepare)?).await?.into_inner();
        assert_eq!((prepared.upload_id.len(), prepared.file_id.len(), prepared.received_bytes), (43, 43, 0));
        let at = |offset_bytes: u64| UploadHeader {
            upload_id: prepared.upload_id.clone(),
            offset_bytes,
            ..UploadHeader::default()
        };
        let (first, second) = content.split_at(300_001);
        let half = caller.upload(at(0), first).await??;
        assert_eq!(half.received_bytes, 300_001);
        assert!(half.file.is_none());
        let wrong = caller.upload(at(5), second).await?.err().context("a wrong offset was taken")?;
        assert_eq!(wrong.code(), Code::FailedPrecondition, "{wrong:?}");
        let whole = caller.upload(at(300_001), second).await??;
        assert_eq!(whole.file.context("no file")?.id, prepared.file_id);
        let by_id = ReadFileRequest { file_id: prepared.file_id.clone(), ..ReadFileRequest::default() };
        assert!(caller.read(by_id).await? == content);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn files_are_described_listed_followed_and_deleted() -> Result<()> {
    everywhere(async |usp| {
        let caller = Caller::of(usp, &["--role", "admin"]).await?;
        let stored = caller.upload(header("t/orders.csv"), csv(33, 500).as_bytes()).await??;
        let id = stored.file.context("no file")?.id;
        let mut gateway = ApiGatewayServiceClient::new(caller.channel.clone());
        let of_file = || GetFileStatusRequest { file_id: id.clone(), ..GetFileStatusRequest::default() };
        until("the file to be ready", PATIENCE, async || {
            let status = gateway.get_file_status(caller.sign(of_file())?).await?.into_inner().status;
            Ok((status.unwrap_or_default().state() == FileState::Ready).then_some(()))
        })
        .await?;
        let describe = GetFileMetadataRequest { file_id: id.clone(), ..GetFileMetadataRequest::default() };
        let file =
            caller.storage().get_file_metadata(caller.sign(describe.clone())?).await?.into_inner().file;
        let file = file.context("no file")?;
        assert!(file.reports.contains_key("profile"), "{file:?}");

        let watch =
            WatchFileRequest { file_id: id.clone(), after_seq: Some(0), ..WatchFileRequest::default() };
        let mut events = caller.storage().watch_file(caller.sign(watch)?).await?.into_inner();
        let mut kinds = Vec::new();
        while kinds.last().is_none_or(|kind| kind != "usp.file.ready") {
            let event =
                tokio::time::timeout(PATIENCE, events.next()).await?.context("the stream ended")??;
            kinds.push(event.event.context("no event")?.r#type);
        }
        assert!(kinds.iter().any(|kind| kind == "usp.file.stored"), "{kinds:?}");

        let list = ListFilesRequest { prefix: "t/".to_owned(), ..ListFilesRequest::default() };
        let page = caller.storage().list_files(caller.sign(list)?).await?.into_inner();
        assert_eq!(page.items.iter().map(|file| file.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
        let mut processor = FileProcessorServiceClient::new(caller.channel.clone());
        let runs = ListRunsRequest { file_id: id.clone(), ..ListRunsRequest::default() };
        let runs = processor.list_runs(caller.sign(runs)?).await?.into_inner().items;
        assert_eq!(runs.iter().map(|run| run.state()).collect::<Vec<_>>(), [RunState::Succeeded]);

        let delete = DeleteFileRequest { file_id: id.clone(), ..DeleteFileRequest::default() };
        caller.storage().delete_file(caller.sign(delete)?).await?;
        let gone =
            caller.storage().get_file_metadata(caller.sign(describe)?).await.err().context("still there")?;
        assert_eq!(gone.code(), Code::NotFound);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_is_wrong_has_a_status_and_details_that_programs_can_read() -> Result<()> {
    everywhere(async |usp| {
        let caller = Caller::of(usp, &["--role", "writer"]).await?;
        let reader = Caller::of(usp, &["--role", "reader"]).await?;
        let stranger = Caller { channel: caller.channel.clone(), token: "garbage".to_owned() };
        let digests = Digests { sha256: sha256_hex(b"other"), ..Digests::default() };
        let wrong_digest = UploadHeader { digests: Some(digests), ..header("a.bin") };
        let cases = [
            (caller.upload(wrong_digest, b"content").await?, Code::InvalidArgument),
            (caller.upload(header("../a"), b"content").await?, Code::InvalidArgument),
            (reader.upload(header("a"), b"content").await?, Code::PermissionDenied),
            (stranger.upload(header("a"), b"content").await?, Code::Unauthenticated),
            (
                caller.upload(UploadHeader { bucket: "absent".to_owned(), ..header("a") }, b"x").await?,
                Code::NotFound,
            ),
        ];
        for (answer, code) in cases {
            let status = answer.err().with_context(|| format!("{code:?} was expected"))?;
            let allowed =
                status.code() == code || code == Code::InvalidArgument && status.code() == Code::DataLoss;
            assert!(allowed, "{status:?}");
            let details = String::from_utf8_lossy(status.details());
            assert!(details.contains("google.rpc.ErrorInfo"), "{code:?}: {details}");
        }
        let list = caller.storage().list_files(caller.sign(ListFilesRequest::default())?).await?.into_inner();
        assert!(list.items.is_empty(), "{list:?}");
        Ok(())
    })
    .await
}
