//! The storage role's side of the node protocol.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request as GrpcRequest, Response, Status, Streaming};
use usp_auth::{Credential, SecretText};
use usp_model::{Error, ErrorKind, Principal, Result};
use usp_proto::node::storage_node_server::{StorageNode as StorageNodeService, StorageNodeServer};
use usp_proto::node::{CallReply, CallRequest, PutFrame, ReadFrame, WatchFrame, put_frame::Frame};
use usp_rt::Shutdown;

use crate::api::dispatch;
use crate::types::{Caller, Reading};
use crate::wire::{
    Answer, Ask, MESSAGE_BYTES_MAX, NODE_SECRET_HEADER, PIECE_BYTES_MAX, decode, encode, to_status,
};
use crate::{ByteStream, StorageApi};

/// Serves a [`StorageApi`] to other roles. Every call must show the installation's node secret.
#[derive(Clone)]
pub struct StorageNode {
    api: Arc<dyn StorageApi>,
    door: Door,
    stop: Shutdown,
}

impl StorageNode {
    /// `stop` ends what has no end of its own: whoever follows events.
    pub fn new(api: Arc<dyn StorageApi>, secret: &SecretText, stop: Shutdown) -> Self {
        Self { api, door: Door { secret_hash: blake3::hash(secret.expose().as_bytes()) }, stop }
    }

    /// The tonic service, ready to be added to a router. The secret is looked at before any message is read.
    pub fn into_service(self) -> InterceptedService<StorageNodeServer<Self>, Door> {
        let door = self.door;
        let node = StorageNodeServer::new(self)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        InterceptedService::new(node, door)
    }

    async fn answer(&self, call: CallRequest) -> Result<Answer> {
        match decode::<Ask>(&call.request)? {
            Ask::Authenticate { bearer } => {
                let credential = Credential::Bearer(SecretText::new(bearer));
                self.api.authenticate(credential).await.map(Answer::Principal)
            }
            Ask::IssueToken { grant } => self.api.issue_token(grant).await.map(Answer::Tokens),
            Ask::Readiness => self.api.readiness().await.map(Answer::Readiness),
            Ask::Call(request) => {
                let caller = caller_of(&call.caller, call.request_id)?;
                dispatch(self.api.as_ref(), &caller, request).await.map(Answer::Reply)
            }
            Ask::Put(_) | Ask::Append(_) | Ask::Read(_) | Ask::Watch(_) => Err(misplaced()),
        }
    }

    /// Reads the header that opens a transfer; the rest of the stream is its content.
    async fn open_transfer(
        &self,
        request: GrpcRequest<Streaming<PutFrame>>,
    ) -> Result<(Caller, Ask, ByteStream), Status> {
        let mut frames = request.into_inner();
        let first = frames.message().await?.and_then(|frame| frame.frame);
        let Some(Frame::Header(call)) = first else {
            return Err(to_status(&misplaced()));
        };
        let caller = caller_of(&call.caller, call.request_id).map_err(|error| to_status(&error))?;
        let ask = decode(&call.request).map_err(|error| to_status(&error))?;
        Ok((caller, ask, Box::pin(stream::unfold(Some(frames), next_piece))))
    }
}

/// The next piece, and where to go on; nothing after the proper end of the content or after an error.
async fn next_piece(
    frames: Option<Streaming<PutFrame>>,
) -> Option<(Result<Bytes>, Option<Streaming<PutFrame>>)> {
    let mut frames = frames?;
    let error = match frames.message().await {
        Ok(Some(PutFrame { frame: Some(Frame::Piece(piece)) })) => return Some((Ok(piece), Some(frames))),
        Ok(Some(PutFrame { frame: Some(Frame::End(true)) })) => match frames.message().await {
            Ok(None) => return None,
            Ok(Some(_)) => misplaced(),
            Err(status) => broken_off(status.to_string()),
        },
        Ok(Some(_)) => misplaced(),
        Ok(None) => broken_off("the call was closed without an end frame".to_owned()),
        Err(status) => broken_off(status.to_string()),
    };
    Some((Err(error), None))
}

fn broken_off(why: String) -> Error {
    Error::new(ErrorKind::Unavailable, "receive content")
        .because("the upload broke off before its end")
        .caused_by(why)
}

#[async_trait]
impl StorageNodeService for StorageNode {
    async fn call(&self, request: GrpcRequest<CallRequest>) -> Result<Response<CallReply>, Status> {
        reply(self.answer(request.into_inner()).await)
    }

    async fn put(&self, request: GrpcRequest<Streaming<PutFrame>>) -> Result<Response<CallReply>, Status> {
        let (caller, ask, content) = self.open_transfer(request).await?;
        let Ask::Put(file) = ask else {
            return Err(to_status(&misplaced()));
        };
        reply(self.api.put(&caller, file, content).await.map(|put| Answer::Put(Box::new(put))))
    }

    async fn append(&self, request: GrpcRequest<Streaming<PutFrame>>) -> Result<Response<CallReply>, Status> {
        let (caller, ask, content) = self.open_transfer(request).await?;
        let Ask::Append(append) = ask else {
            return Err(to_status(&misplaced()));
        };
        reply(
            self.api.append(&caller, append, content).await.map(|upload| Answer::Appended(Box::new(upload))),
        )
    }

    type ReadStream = Pin<Box<dyn Stream<Item = Result<ReadFrame, Status>> + Send>>;

    async fn read(&self, request: GrpcRequest<CallRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let call = request.into_inner();
        let reading = async {
            let caller = caller_of(&call.caller, call.request_id)?;
            match decode(&call.request)? {
                Ask::Read(read) => self.api.read(&caller, read).await,
                _ => Err(misplaced()),
            }
        };
        let Reading { file, range, content } = reading.await.map_err(|error| to_status(&error))?;
        let head =
            encode(&Answer::Reading { file: Box::new(file), range }).map_err(|error| to_status(&error))?;
        let head = stream::iter([Ok(ReadFrame { head: head.into(), piece: Bytes::new() })]);
        let pieces = content.flat_map(|piece| match piece {
            Ok(piece) => stream::iter(cut(piece)).map(Ok).left_stream(),
            Err(error) => stream::iter([Err(to_status(&error))]).right_stream(),
        });
        let frames = pieces.map(|piece| piece.map(|piece| ReadFrame { head: Bytes::new(), piece }));
        Ok(Response::new(Box::pin(head.chain(frames))))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchFrame, Status>> + Send>>;

    async fn watch(&self, request: GrpcRequest<CallRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let call = request.into_inner();
        let watching = async {
            let caller = caller_of(&call.caller, call.request_id)?;
            match decode(&call.request)? {
                Ask::Watch(query) => self.api.watch(&caller, query).await,
                _ => Err(misplaced()),
            }
        };
        let events = watching.await.map_err(|error| to_status(&error))?;
        let events =
            events.take_until(self.stop.clone().cancelled_owned()).chain(stream::iter([Err(stopping())]));
        let frames = events.map(|event| {
            let frame = event.and_then(|event| encode(&event)).map(|json| WatchFrame { event: json.into() });
            frame.map_err(|error| to_status(&error))
        });
        Ok(Response::new(Box::pin(frames)))
    }
}

/// Lets in whoever shows the node secret.
#[derive(Debug, Clone, Copy)]
pub struct Door {
    /// BLAKE3 of the secret: comparing hashes tells nothing about the secret by its duration.
    secret_hash: blake3::Hash,
}

impl Interceptor for Door {
    fn call(&mut self, request: GrpcRequest<()>) -> Result<GrpcRequest<()>, Status> {
        let presented = request.metadata().get(NODE_SECRET_HEADER).map_or(&b""[..], |value| value.as_bytes());
        // `blake3::Hash` compares in constant time.
        if blake3::hash(presented) == self.secret_hash {
            Ok(request)
        } else {
            Err(Status::unauthenticated("the node secret is missing or wrong"))
        }
    }
}

fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, "follow events")
        .because("the storage role stops; follow again shortly")
}

fn caller_of(principal: &[u8], request_id: String) -> Result<Caller> {
    Ok(Caller { principal: decode::<Principal>(principal)?, request_id })
}

fn reply(answer: Result<Answer>) -> Result<Response<CallReply>, Status> {
    let json = answer.and_then(|answer| encode(&answer)).map_err(|error| to_status(&error))?;
    Ok(Response::new(CallReply { reply: json.into() }))
}

/// Cuts a piece so that each part fits a message.
pub(crate) fn cut(mut piece: Bytes) -> Vec<Bytes> {
    let mut parts = Vec::with_capacity(piece.len() / PIECE_BYTES_MAX + 1);
    while piece.len() > PIECE_BYTES_MAX {
        parts.push(piece.split_to(PIECE_BYTES_MAX));
    }
    if !piece.is_empty() {
        parts.push(piece);
    }
    parts
}

fn misplaced() -> Error {
    Error::new(ErrorKind::InvalidInput, "read node message")
        .because("this message does not belong here: run the same release of usp everywhere")
}

impl fmt::Debug for StorageNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageNode").field("api", &self.api).finish_non_exhaustive()
    }
}
