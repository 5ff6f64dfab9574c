//! A storage role in another process, as if it stood here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use parking_lot::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request as GrpcRequest, Status};
use usp_auth::{Credential, SecretText};
use usp_model::{Error, ErrorKind, EventQuery, Principal, Result, Upload};
use usp_proto::node::storage_node_client::StorageNodeClient;
use usp_proto::node::{CallReply, CallRequest, PutFrame, put_frame::Frame};
use usp_rt::jittered;

use crate::breaker::Breaker;
use crate::server::cut;
use crate::types::{
    AppendUpload, Caller, NewFile, PutOutcome, ReadFile, Readiness, Reading, TokenGrant, TokenPair,
};
use crate::wire::{
    Answer, Ask, CONNECTION_WINDOW_BYTES, MESSAGE_BYTES_MAX, NODE_SECRET_HEADER, TRAILER_BYTES_MAX,
    TRANSFER_WINDOW_BYTES, decode, encode, from_status, is_answer, outcome_unknown, unexpected_reply,
    was_unsent,
};
use crate::{ByteStream, EventStream, Reply, Request, StorageApi};

/// Where the storage role listens and how to be let in.
#[derive(Debug, Clone)]
pub struct GrpcStorageConfig {
    /// `http://host:port`
    pub url: String,
    pub secret: SecretText,
    pub connect_timeout: Duration,
    /// Bounds one unary call; transfers and watches run as long as they move.
    pub call_timeout: Duration,
}

/// Tries of a question that changes nothing, and the first pause between two; it doubles. Together they outlast a restart
/// of the storage role that takes a moment.
const TRY_COUNT_MAX: u32 = 4;
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// How long the end of what takes long is waited for. It goes on without whoever waits.
const LONG_TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// Speaks the node protocol. Connects when it is first used and again whenever a connection is gone.
///
/// Questions have a connection of their own: what transfers have under way never stands before a short answer.
#[derive(Clone)]
pub struct GrpcStorage {
    questions: StorageNodeClient<Channel>,
    transfers: StorageNodeClient<Channel>,
    secret: MetadataValue<Ascii>,
    call_timeout: Duration,
    url: Arc<str>,
    breaker: Arc<Breaker>,
}

impl GrpcStorage {
    /// Does not connect yet. Errors: `InvalidInput` for a malformed URL or secret.
    pub fn new(config: &GrpcStorageConfig) -> Result<Self> {
        let bad =
            |reason: &str| Error::new(ErrorKind::InvalidInput, "set up the storage client").because(reason);
        let endpoint = Endpoint::from_shared(config.url.clone())
            .map_err(|source| bad("the storage URL must look like http://host:port").caused_by(source))?
            .connect_timeout(config.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(10))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(TRANSFER_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .http2_max_header_list_size(TRAILER_BYTES_MAX);
        let mut secret: MetadataValue<Ascii> =
            config.secret.expose().parse().map_err(|_| bad("the node secret must be printable ASCII"))?;
        secret.set_sensitive(true);
        let client = || {
            StorageNodeClient::new(endpoint.connect_lazy())
                .max_decoding_message_size(MESSAGE_BYTES_MAX)
                .max_encoding_message_size(MESSAGE_BYTES_MAX)
        };
        let (call_timeout, url) = (config.call_timeout, config.url.as_str().into());
        let (questions, transfers) = (client(), client());
        Ok(Self { questions, transfers, secret, call_timeout, url, breaker: Arc::default() })
    }

    fn signed<T>(&self, message: T) -> GrpcRequest<T> {
        let mut request = GrpcRequest::new(message);
        request.metadata_mut().insert(NODE_SECRET_HEADER, self.secret.clone());
        request
    }

    /// Asks; and asks again, with growing pauses, what did not get through and changes nothing.
    async fn ask(&self, caller: Option<&Caller>, ask: &Ask, timeout: Duration) -> Result<Answer> {
        let request = message(caller, ask)?;
        let try_count = if ask.is_question() { TRY_COUNT_MAX } else { 1 };
        let mut pause = PAUSE_FIRST;
        for _ in 1..try_count {
            match self.within(timeout, self.questions.clone().call(self.signed(request.clone()))).await {
                Err(Missed::Unsent(_) | Missed::Unanswered(_)) => {
                    tokio::time::sleep(jittered(pause)).await;
                    pause *= 2;
                }
                Err(Missed::Refused(error)) => return Err(error),
                Ok(reply) => return answer(reply),
            }
        }
        let asked = self.within(timeout, self.questions.clone().call(self.signed(request))).await;
        answer(asked.map_err(|missed| missed.of(ask))?)
    }

    /// One call: through the breaker, and with a deadline for its answer or the head of it.
    async fn within<T>(
        &self,
        timeout: Duration,
        call: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Missed> {
        self.admit()?;
        match tokio::time::timeout(timeout, call).await {
            Ok(sent) => self.noted(sent).map(tonic::Response::into_inner),
            Err(_elapsed) => {
                self.breaker.missed();
                let late = Error::new(ErrorKind::Unavailable, "ask the storage role");
                Err(Missed::Unanswered(late.because("the storage role took too long to answer")))
            }
        }
    }

    fn admit(&self) -> Result<(), Missed> {
        self.breaker.admit().map_err(|wait| {
            let away = Error::new(ErrorKind::Unavailable, "ask the storage role")
                .because(format!("the storage role at {} does not answer; try again shortly", self.url));
            Missed::Unsent(away.retry_after(wait.max(Duration::from_secs(1))))
        })
    }

    /// Tells the breaker whether storage was reached.
    fn noted<T>(&self, sent: Result<T, Status>) -> Result<T, Missed> {
        match sent {
            Ok(reply) => {
                self.breaker.reached();
                Ok(reply)
            }
            Err(status) => {
                let missed = Missed::from(&status);
                match &missed {
                    Missed::Refused(_) => self.breaker.reached(),
                    Missed::Unsent(_) | Missed::Unanswered(_) => self.breaker.missed(),
                }
                Err(missed)
            }
        }
    }

    pub(crate) async fn call(&self, caller: &Caller, request: Request) -> Result<Reply> {
        // What takes long on purpose comes on top: a lease waits, a collection walks the whole store, and parts are read
        // whole for the digest of what they are joined to.
        let wait = match &request {
            Request::LeaseRuns { wait_ms, .. } => Duration::from_millis(*wait_ms),
            Request::JoinUploads { .. }
            | Request::Collect { .. }
            | Request::CheckStore { .. }
            | Request::StoreDamage {} => LONG_TIME_MAX,
            _ => Duration::ZERO,
        };
        let timeout = self.call_timeout + wait;
        match self.ask(Some(caller), &Ask::Call(request), timeout).await? {
            Answer::Reply(reply) => Ok(reply),
            other => Err(unexpected_reply(&other)),
        }
    }
}

#[async_trait]
impl StorageApi for GrpcStorage {
    async fn authenticate(&self, credential: Credential) -> Result<Principal> {
        let (Credential::Bearer(secret) | Credential::Node(secret)) = credential;
        let ask = Ask::Authenticate { bearer: secret.expose().to_owned() };
        match self.ask(None, &ask, self.call_timeout).await? {
            Answer::Principal(principal) => Ok(principal),
            other => Err(unexpected_reply(&other)),
        }
    }

    async fn issue_token(&self, grant: TokenGrant) -> Result<TokenPair> {
        match self.ask(None, &Ask::IssueToken { grant }, self.call_timeout).await? {
            Answer::Tokens(tokens) => Ok(tokens),
            other => Err(unexpected_reply(&other)),
        }
    }

    async fn readiness(&self) -> Result<Readiness> {
        match self.ask(None, &Ask::Readiness, self.call_timeout).await {
            Ok(Answer::Readiness(readiness)) => Ok(readiness),
            Ok(other) => Err(unexpected_reply(&other)),
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                Ok(Readiness { ready: false, waiting_for: vec![format!("the storage role at {}", self.url)] })
            }
            // It answers, and will not let us in: that is waited for, too.
            Err(error) => {
                let waiting_for = vec![format!("the storage role at {}: {}", self.url, error.detail())];
                Ok(Readiness { ready: false, waiting_for })
            }
        }
    }

    async fn put(&self, caller: &Caller, file: NewFile, content: ByteStream) -> Result<PutOutcome> {
        let ask = Ask::Put(file);
        let (frames, broken) = transfer(message(Some(caller), &ask)?, content);
        self.admit().map_err(|missed| missed.of(&ask))?;
        let sent = self.transfers.clone().put(self.signed(frames)).await;
        match finish_transfer(&ask, sent, &broken)? {
            Answer::Put(outcome) => Ok(*outcome),
            other => Err(unexpected_reply(&other)),
        }
    }

    async fn append(&self, caller: &Caller, append: AppendUpload, content: ByteStream) -> Result<Upload> {
        let ask = Ask::Append(append);
        let (frames, broken) = transfer(message(Some(caller), &ask)?, content);
        self.admit().map_err(|missed| missed.of(&ask))?;
        let sent = self.transfers.clone().append(self.signed(frames)).await;
        match finish_transfer(&ask, sent, &broken)? {
            Answer::Appended(upload) => Ok(*upload),
            other => Err(unexpected_reply(&other)),
        }
    }

    async fn read(&self, caller: &Caller, read: ReadFile) -> Result<Reading> {
        let ask = Ask::Read(read);
        let request = self.signed(message(Some(caller), &ask)?);
        let opened = self.within(self.call_timeout, self.transfers.clone().read(request)).await;
        let mut frames = opened.map_err(|missed| missed.of(&ask))?;
        let head = frames.message().await.map_err(|status| from_status(&status))?.unwrap_or_default();
        let Answer::Reading { file, range } = decode(&head.head)? else {
            return Err(unexpected_reply(&"a read without a head"));
        };
        let content = frames.map(|frame| match frame {
            Ok(frame) => Ok(frame.piece),
            Err(status) => Err(from_status(&status)),
        });
        Ok(Reading { file: *file, range, content: Box::pin(content) })
    }

    async fn watch(&self, caller: &Caller, query: EventQuery) -> Result<EventStream> {
        let ask = Ask::Watch(query);
        let request = self.signed(message(Some(caller), &ask)?);
        let opened = self.within(self.call_timeout, self.transfers.clone().watch(request)).await;
        let events = opened.map_err(|missed| missed.of(&ask))?.map(|frame| match frame {
            Ok(frame) => decode(&frame.event),
            Err(status) => Err(from_status(&status)),
        });
        Ok(Box::pin(events))
    }
}

/// Why there is no answer.
enum Missed {
    /// Storage said no.
    Refused(Error),
    /// There was no connection to send the question on.
    Unsent(Error),
    /// The question was sent, at least in part, and the answer is lost.
    Unanswered(Error),
}

impl From<&Status> for Missed {
    fn from(status: &Status) -> Self {
        let error = from_status(status);
        if is_answer(status) {
            Self::Refused(error)
        } else if was_unsent(status) {
            Self::Unsent(error)
        } else {
            Self::Unanswered(error)
        }
    }
}

impl Missed {
    /// The error of a question: where it may have changed something, nobody knows whether it has.
    fn of(self, ask: &Ask) -> Error {
        match self {
            Self::Unanswered(error) if !ask.changes_nothing() => outcome_unknown(error),
            Self::Refused(error) | Self::Unsent(error) | Self::Unanswered(error) => error,
        }
    }
}

fn message(caller: Option<&Caller>, ask: &Ask) -> Result<CallRequest> {
    let request = encode(ask)?.into();
    Ok(match caller {
        Some(caller) => CallRequest {
            caller: encode(&caller.principal)?.into(),
            request_id: caller.request_id.clone(),
            request,
        },
        None => CallRequest { request, ..CallRequest::default() },
    })
}

fn answer(reply: CallReply) -> Result<Answer> {
    decode(&reply.reply)
}

/// Where the error of a broken source waits for the end of its transfer.
type Broken = Arc<Mutex<Option<Error>>>;

/// Header first, then the pieces, then the end. A source that breaks has no end: storage refuses what follows instead and
/// keeps nothing that it should not, and the caller gets the source's own error.
fn transfer(
    header: CallRequest,
    content: ByteStream,
) -> (impl stream::Stream<Item = PutFrame> + Send, Broken) {
    let broken = Broken::default();
    let (noted, asked) = (Arc::clone(&broken), Arc::clone(&broken));
    let head = stream::iter([Frame::Header(header)]).map(Some);
    let pieces = content
        .map(move |piece| {
            piece.map_or_else(
                |error| {
                    *noted.lock() = Some(error);
                    Vec::new()
                },
                cut,
            )
        })
        .flat_map(stream::iter)
        .map(|piece| Some(Frame::Piece(piece)));
    let end = stream::once(async move { asked.lock().is_none().then_some(Frame::End(true)) });
    (head.chain(pieces).chain(end).map(|frame| PutFrame { frame }), broken)
}

fn finish_transfer(
    ask: &Ask,
    sent: Result<tonic::Response<CallReply>, Status>,
    broken: &Broken,
) -> Result<Answer> {
    if let Some(error) = broken.lock().take() {
        return Err(error);
    }
    answer(sent.map_err(|status| Missed::from(&status).of(ask))?.into_inner())
}

impl fmt::Debug for GrpcStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcStorage").field("url", &self.url).finish_non_exhaustive()
    }
}
