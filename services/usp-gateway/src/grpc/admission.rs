//! Decides who may call what. A procedure that is not in the table cannot be called.

use std::fmt;
use std::time::Duration;

use axum::extract::{Request as HttpRequest, State};
use axum::middleware::Next;
use axum::response::Response as HttpResponse;
use http::HeaderMap;
use tonic::{Request, Response, Status};
use usp_api::{Caller, trace};
use usp_auth::{Permission, authorize_somewhere};
use usp_model::{Error, ErrorKind, Result};
use usp_rt::Shutdown;

use super::{GrpcDialect, status};
use crate::Gateway;
use crate::dialect::Dialect;
use crate::metrics::Metrics;
use crate::presented::Presented;
use crate::request::{self, Head, trace_context};

/// Every procedure of the three services with the permission it takes; storage then checks the same for the bucket at
/// hand.
#[rustfmt::skip]
const PROCEDURES: [(&str, Permission); 20] = [
    ("/usp.storage.v1.FileStorageService/PrepareUpload", Permission::FileWrite),
    ("/usp.storage.v1.FileStorageService/Upload", Permission::FileWrite),
    ("/usp.storage.v1.FileStorageService/NegotiateChunks", Permission::FileWrite),
    ("/usp.storage.v1.FileStorageService/GetFileMetadata", Permission::FileRead),
    ("/usp.storage.v1.FileStorageService/ListFiles", Permission::FileRead),
    ("/usp.storage.v1.FileStorageService/ReadFile", Permission::FileRead),
    ("/usp.storage.v1.FileStorageService/DeleteFile", Permission::FileDelete),
    ("/usp.storage.v1.FileStorageService/UpdateFile", Permission::FileWrite),
    ("/usp.storage.v1.FileStorageService/WatchFile", Permission::EventRead),
    ("/usp.processor.v1.FileProcessorService/ProcessFile", Permission::RunManage),
    ("/usp.processor.v1.FileProcessorService/GetProcessingStatus", Permission::RunRead),
    ("/usp.processor.v1.FileProcessorService/RetryRun", Permission::RunManage),
    ("/usp.processor.v1.FileProcessorService/CancelRun", Permission::RunManage),
    ("/usp.processor.v1.FileProcessorService/ListRuns", Permission::RunRead),
    ("/usp.processor.v1.FileProcessorService/WatchRuns", Permission::EventRead),
    ("/usp.gateway.v1.ApiGatewayService/PrepareUpload", Permission::FileWrite),
    ("/usp.gateway.v1.ApiGatewayService/GetFileMetadata", Permission::FileRead),
    ("/usp.gateway.v1.ApiGatewayService/ListFiles", Permission::FileRead),
    ("/usp.gateway.v1.ApiGatewayService/DeleteFile", Permission::FileDelete),
    ("/usp.gateway.v1.ApiGatewayService/GetFileStatus", Permission::FileRead),
];
/// What monitors and tools call without a token. It reveals nothing that the documentation does not.
const OPEN: [&str; 4] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The path as a constant, if this door knows it: safe as a label.
pub(crate) fn known_path(path: &str) -> Option<&'static str> {
    let procedures = PROCEDURES.iter().map(|(known, _)| *known);
    procedures.chain(OPEN).find(|known| *known == path)
}

/// Lets a call pass once its caller is known and may make it, and for as long as its deadline says.
pub(super) async fn admit(State(gateway): State<Gateway>, request: HttpRequest, next: Next) -> HttpResponse {
    let Some(deadline) = deadline_of(request.headers()) else {
        return answer(gateway, request, next).await;
    };
    tokio::time::timeout(deadline, answer(gateway, request, next)).await.unwrap_or_else(|_| {
        Status::deadline_exceeded("the call did not end within the time that the client gave it").into_http()
    })
}

async fn answer(gateway: Gateway, mut request: HttpRequest, next: Next) -> HttpResponse {
    let path = request.uri().path();
    if let Some((_, permission)) = PROCEDURES.iter().find(|(known, _)| *known == path) {
        let request_id = request::id::of(request.extensions());
        let trace = trace::is_on().then(|| trace_context::of(request.headers())).flatten();
        let presented = GrpcDialect.present(Head::of(&request));
        match Session::begin(gateway, presented, *permission, &request_id, trace).await {
            Ok(session) => {
                request.extensions_mut().insert(session);
            }
            Err(error) => return GrpcDialect.refuse(error, &request_id),
        }
    } else if !OPEN.contains(&path) {
        return Status::unimplemented("this door has no such procedure").into_http();
    }
    next.run(request).await
}

/// An admitted call: its caller, and what proved the caller.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) caller: Caller,
    /// The span of the call, for what it leads to; `None` while spans go nowhere.
    pub(super) trace: Option<String>,
    permission: Permission,
    presented: Presented,
    gateway: Gateway,
}

impl Session {
    async fn begin(
        gateway: Gateway,
        presented: Result<Presented>,
        permission: Permission,
        request_id: &str,
        trace: Option<String>,
    ) -> Result<Self> {
        let presented = presented?;
        let caller = gateway.authenticator.authenticate(&presented, request_id).await?;
        // Without a grant anywhere the call ends here; with one, storage decides about the bucket at hand.
        authorize_somewhere(&caller.principal, permission)?;
        Ok(Self { caller, trace, permission, presented, gateway })
    }

    /// Splits a request into its session and its message. Errors: `Internal` for a call that was not admitted.
    pub(super) fn open<T>(request: Request<T>) -> Result<(Self, T), Status> {
        let (_, mut extensions, message) = request.into_parts();
        match extensions.remove::<Self>() {
            Some(session) => Ok((session, message)),
            None => Err(Status::internal("this call was not admitted")),
        }
    }

    /// Wraps an answer for tonic.
    pub(super) fn answer<T>(&self, answer: Result<T>) -> Result<Response<T>, Status> {
        answer.map(Response::new).map_err(|error| self.status(&error))
    }

    pub(super) fn status(&self, error: &Error) -> Status {
        status::of(error, &self.caller.request_id)
    }

    /// Cancelled when streams without an end of their own are to end.
    pub(super) fn stopping(&self) -> Shutdown {
        self.gateway.stopping.clone()
    }

    pub(super) fn gateway_metrics(&self) -> &Metrics {
        &self.gateway.metrics
    }

    /// Whether the caller may still do what it began. Errors: `Unauthenticated`, `Denied`.
    pub(super) async fn confirm(&self) -> Result<()> {
        let principal = match self.gateway.authenticator.verify(&self.presented).await {
            Ok(principal) => principal,
            // An unreachable storage takes no permission away. What it serves would end by itself.
            Err(error) if error.kind() == ErrorKind::Unavailable => return Ok(()),
            Err(error) => return Err(error),
        };
        authorize_somewhere(&principal, self.permission)?;
        if principal == self.caller.principal {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Denied, "go on with call")
                .because("what you may do has changed since the call began; make it again"))
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Reads `grpc-timeout`: at most eight digits and a unit.
fn deadline_of(headers: &HeaderMap) -> Option<Duration> {
    const DIGITS_MAX: usize = 8;
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > DIGITS_MAX || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    #[test]
    fn the_table_lists_every_procedure_that_there_is_and_no_other() {
        let files = FileDescriptorSet::decode(usp_proto::DESCRIPTOR_SET).unwrap().file;
        let mut described = Vec::new();
        for file in files.iter().filter(|file| file.package() != "usp.node.v1") {
            for service in &file.service {
                let name = format!("/{}.{}", file.package(), service.name());
                described.extend(service.method.iter().map(|method| format!("{name}/{}", method.name())));
            }
        }
        let mut listed: Vec<String> = PROCEDURES.iter().map(|(path, _)| (*path).to_owned()).collect();
        described.sort();
        listed.sort();
        assert_eq!(listed, described);
    }

    #[test]
    fn deadlines_are_read_as_the_protocol_writes_them() {
        let read = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_str(text).unwrap());
            deadline_of(&headers)
        };
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "S", "123456789S", "1x", "-1S", "1.5S"] {
            let read = read(text);
            assert!(read.is_none(), "{text:?}: {read:?}");
        }
    }
}
