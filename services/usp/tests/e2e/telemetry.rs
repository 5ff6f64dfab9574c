//! Spans, at a collector that speaks OTLP over gRPC as any other does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use parking_lot::Mutex;
use reqwest::Method;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status};
use usp_proto::storage::file_storage_service_client::FileStorageServiceClient;
use usp_proto::storage::upload_request::Part;
use usp_proto::storage::{UploadHeader, UploadRequest};
use usp_testkit::generate::csv;
use usp_testkit::{Http, Installation, PATIENCE, Setup, Topology, file_path, until};

use crate::processing::ORDERS_RULE;
use crate::{prove, say, setup, text};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT_SPAN: &str = "00f067aa0ba902b7";
/// Stands in the key, the content and the metadata of what is sent, and in no span.
const CANARY: &str = "canary-7031";

/// Keeps what it is sent. Ends with the test.
#[derive(Clone, Default)]
struct Collector {
    received: Arc<Mutex<Vec<ResourceSpans>>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.received.lock().extend(request.into_inner().resource_spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> Result<(Self, SocketAddr)> {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(
            Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Ok((collector, address))
    }

    /// The spans of one trace, and what the processes call themselves that sent them.
    fn trace(&self, trace: &str) -> Vec<(String, Span)> {
        let mut found = Vec::new();
        for process in self.received.lock().iter() {
            let resource = process.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
            let roles = attribute(resource, "usp.roles").unwrap_or_default();
            let spans = process.scope_spans.iter().flat_map(|scope| &scope.spans);
            let ours = spans.filter(|span| hex(&span.trace_id) == trace);
            found.extend(ours.map(|span| (roles.clone(), span.clone())));
        }
        found
    }

    /// Waits for `count` spans of a trace: by then there must be no more.
    async fn whole_trace(&self, trace: &str, count: usize) -> Result<Vec<(String, Span)>> {
        until(&format!("{count} spans of the trace {trace}"), PATIENCE, async || {
            let spans = self.trace(trace);
            Ok((spans.len() >= count).then_some(spans))
        })
        .await
        .with_context(|| format!("{:#?}", self.trace(trace)))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => Some(format!("{other:?}")),
    }
}

/// What a span says about itself; empty when it says nothing.
fn said(span: &Span, key: &str) -> String {
    attribute(&span.attributes, key).unwrap_or_default()
}

/// Tells the collector at this address. An idle processor stops at once, long before spans have gathered.
fn telling(address: SocketAddr) -> Setup {
    setup().config(&format!(
        "[telemetry]\notlp_endpoint = \"http://{address}\"\n[processor]\nlease_wait = \"100ms\"\n"
    ))
}

fn traceparent() -> String {
    format!("00-{TRACE}-{CLIENT_SPAN}-01")
}

async fn put(http: &Http, key: &str, content: String) -> Result<String> {
    let request = http.request(Method::PUT, &file_path("default", key)).header("traceparent", traceparent());
    let request = request.header("content-type", "text/csv").header("x-usp-meta-note", CANARY);
    let file = http.send(request.body(content)).await?.must(201)?.value()?;
    Ok(text(&file, "id")?.to_owned())
}

fn only<'a>(spans: &'a [(String, Span)], name: &str) -> Result<&'a Span> {
    let mut named = spans.iter().filter(|(_, span)| span.name == name);
    match (named.next(), named.next()) {
        (Some((_, span)), None) => Ok(span),
        _ => bail!("not one span {name}: {spans:#?}"),
    }
}

/// That one is below the other.
fn is_below(span: &Span, parent: &Span) {
    assert_eq!(hex(&span.parent_span_id), hex(&parent.span_id), "{} below {}", span.name, parent.name);
}

fn check_upload(spans: &[(String, Span)], step_count: usize) -> Result<()> {
    let request = only(spans, "PUT /api/v1/buckets/{bucket}/files/{*key}")?;
    assert_eq!(hex(&request.parent_span_id), CLIENT_SPAN);
    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(said(request, "http.response.status_code"), "201");
    is_below(only(spans, "commit")?, request);
    let run = only(spans, "run")?;
    is_below(run, request);
    assert_eq!(run.kind(), SpanKind::Consumer);
    assert_eq!(
        (said(run, "usp.run.outcome"), said(run, "usp.run.attempt")),
        ("succeeded".into(), "1".into())
    );
    let steps: Vec<_> = spans.iter().filter(|(_, span)| span.name.starts_with("step ")).collect();
    assert_eq!(steps.len(), step_count, "{spans:#?}");
    for (_, step) in steps {
        is_below(step, run);
        assert_eq!(said(step, "usp.step.outcome"), "succeeded");
        assert_eq!(said(step, "usp.run.attempt"), "1");
        assert_eq!(step.name, format!("step {}", said(step, "usp.step.uses")));
    }
    for (_, span) in spans {
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:#?}");
    }
    Ok(())
}

/// Which role told which span.
fn check_roles(spans: &[(String, Span)], topology: Topology) {
    for (roles, span) in spans {
        let expected = match (topology, span.name.as_str()) {
            (Topology::OneProcess, _) => "gateway+storage+processor",
            (_, "commit") => "storage",
            (_, name) if name.starts_with("PUT ") => "gateway",
            _ => "processor",
        };
        assert_eq!(roles, expected, "{}", span.name);
    }
}

#[tokio::test]
async fn request_commit_run_and_steps_of_an_upload_are_one_trace_however_the_roles_are_spread() -> Result<()>
{
    for topology in Topology::ALL {
        let (collector, address) = Collector::start().await?;
        let fact = async |usp: &mut Installation| {
            let http = usp.admin().await?;
            let content = format!("{}{CANARY}\n", csv(1, 200));
            let id = put(&http, &format!("{CANARY}.csv"), content).await?;
            http.wait_ready(&id).await?;
            let runs = http.get(&format!("/api/v1/files/{id}/runs")).await?.must(200)?.value()?;
            let step_count = runs["items"][0]["steps"].as_array().context("no steps")?.len();
            let spans = collector.whole_trace(TRACE, 3 + step_count).await?;
            check_upload(&spans, step_count)?;
            check_roles(&spans, topology);
            let request = only(&spans, "PUT /api/v1/buckets/{bucket}/files/{*key}")?;
            let kept = format!("00-{TRACE}-{}-01", hex(&request.span_id));
            let mut events = http.events("/api/v1/events?after=0", None).await?;
            let seen = events.through("usp.run.succeeded").await?;
            let ended = seen.last().context("no event")?;
            assert_eq!(ended.data["traceparent"], kept, "{ended:?}");
            let told = format!("{:?}", collector.received.lock());
            assert!(!told.contains(CANARY) && !told.contains(http.token()), "{told}");
            say(format_args!("{topology:?}: {} spans in the trace of an upload", spans.len()));
            Ok(())
        };
        let proven = prove(telling(address).topology(topology), fact).await;
        proven.with_context(|| format!("with the topology {topology:?}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_comes_over_grpc_has_its_trace_too() -> Result<()> {
    let (collector, address) = Collector::start().await?;
    prove(telling(address), async |usp| {
        let channel = Channel::from_shared(format!("http://{}", usp.grpc_address()?))?.connect().await?;
        let header = UploadHeader { key: "a.txt".to_owned(), ..UploadHeader::default() };
        let parts = [Part::Header(header), Part::Chunk(b"some text".to_vec().into())];
        let messages = parts.map(|part| UploadRequest { part: Some(part) });
        let mut request = Request::new(futures::stream::iter(messages));
        let token = usp.token(&["--role", "admin"]).await?;
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        request.metadata_mut().insert("traceparent", traceparent().parse()?);
        let file = FileStorageServiceClient::new(channel).upload(request).await?.into_inner().file;
        usp.admin().await?.wait_ready(&file.context("no file")?.id).await?;
        let spans = collector.whole_trace(TRACE, 4).await?;
        let call = only(&spans, "usp.storage.v1.FileStorageService/Upload")?;
        assert_eq!((hex(&call.parent_span_id), call.kind()), (CLIENT_SPAN.to_owned(), SpanKind::Server));
        assert_eq!(
            (said(call, "rpc.system.name"), said(call, "rpc.response.status_code")),
            ("grpc".into(), "OK".into())
        );
        is_below(only(&spans, "commit")?, call);
        is_below(only(&spans, "run")?, call);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_step_that_fails_says_that_it_did_and_nothing_of_the_content() -> Result<()> {
    let (collector, address) = Collector::start().await?;
    prove(telling(address).rule("orders", ORDERS_RULE), async |usp| {
        let http = usp.admin().await?;
        let id = put(&http, "orders/bad.csv", format!("order_id,name\n1,a\n{CANARY},b\n")).await?;
        assert_eq!(http.wait_final(&id).await?["state"], "failed");
        let run = until("the span of the run", PATIENCE, async || {
            let spans = collector.trace(TRACE);
            let named = |(_, span): &&(String, Span)| {
                span.name == "run" && attribute(&span.attributes, "usp.run.rule").as_deref() == Some("orders")
            };
            Ok(spans.iter().find(named).map(|(_, span)| span.clone()))
        })
        .await?;
        assert_eq!(
            (said(&run, "usp.run.outcome"), said(&run, "error.type")),
            ("failed".into(), "permanent".into())
        );
        let spans = collector.trace(TRACE);
        let failed = spans
            .iter()
            .map(|(_, span)| span)
            .find(|span| span.parent_span_id == run.span_id && said(span, "usp.step.outcome") == "failed");
        let failed = failed.context("no step failed")?;
        assert_eq!(said(failed, "error.type"), "invalid");
        let status = failed.status.as_ref().context("no status")?;
        assert_eq!((status.code(), status.message.as_str()), (StatusCode::Error, ""));
        let told = format!("{:?}", collector.received.lock());
        assert!(!told.contains(CANARY), "{told}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn what_was_told_last_is_sent_before_the_process_ends() -> Result<()> {
    let (collector, address) = Collector::start().await?;
    prove(telling(address), async |usp| {
        let http = usp.admin().await?;
        put(&http, "a.csv", csv(1, 10)).await?;
        for stopped in usp.stop().await? {
            assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
        }
        let spans = collector.trace(TRACE);
        is_below(only(&spans, "commit")?, only(&spans, "PUT /api/v1/buckets/{bucket}/files/{*key}")?);
        Ok(())
    })
    .await
}

/// With the two seconds that the last spans are given, and far less than a drain that waits for something.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// More spans than wait for a collector.
const FILE_COUNT: usize = 600;

#[tokio::test]
async fn a_collector_that_is_away_or_silent_holds_nothing_up() -> Result<()> {
    let away = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
    // Accepts by its backlog, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await?;
    for (what, address) in [("away", away), ("silent", silent.local_addr()?)] {
        let proven = prove(telling(address), async |usp| {
            let http = usp.admin().await?;
            let mut last = String::new();
            for number in 0..FILE_COUNT {
                last = put(&http, &format!("{number}.csv"), "a\n1\n".to_owned()).await?;
            }
            http.wait_ready(&last).await?;
            until("the log to tell", PATIENCE, async || {
                Ok(usp.logs()?.contains("spans do not reach the collector").then_some(()))
            })
            .await?;
            for stopped in usp.stop().await? {
                assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
                assert!(stopped.took < STOP_WITHIN, "{stopped:?}");
                say(format_args!("a collector that is {what}: stopped in {:?}", stopped.took));
            }
            let told = usp.logs()?.matches("spans do not reach the collector").count();
            assert_eq!(told, 1, "the log says it once");
            Ok(())
        });
        proven.await.with_context(|| format!("with a collector that is {what}"))?;
    }
    Ok(())
}
