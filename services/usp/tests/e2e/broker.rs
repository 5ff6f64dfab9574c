//! Roles apart over a NATS broker: what it tells, and that nothing is lost or doubled whatever becomes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use usp_testkit::generate::{bytes, csv};
use usp_testkit::{
    Broker, Cli, Http, Installation, NatsCertificates, NatsServer, NatsUser, PATIENCE, Setup, Topology,
    file_path, until,
};

use crate::{prove, say, setup, text};

/// What must hold after the broker is well again.
const HEALED_WITHIN: Duration = Duration::from_secs(120);
/// Short enough that lost leases cost a test little, long enough for a busy machine.
const SHORT_LEASE: &str = "[storage]\nlease_time = \"5s\"\n[processor]\nheartbeat = \"500ms\"\n";

fn over_nats() -> Setup {
    setup().topology(Topology::FourProcessesOverNats).config(SHORT_LEASE)
}

/// 3 on every change, 50 for the long figures, over all four faults.
fn runs_per_fault() -> usize {
    if std::env::var_os("USP_TORTURE").is_some() { 50 } else { 3 }
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Killed,
    Paused,
    CutOff,
    Wiped,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Killed, Self::Paused, Self::CutOff, Self::Wiped];

    fn strike(self, broker: &mut Broker) -> Result<()> {
        match self {
            Self::Killed => broker.server.kill(),
            Self::Paused => broker.server.pause(),
            Self::CutOff => {
                broker.cable.unplug();
                Ok(())
            }
            Self::Wiped => {
                broker.server.kill()?;
                broker.server.wipe()
            }
        }
    }

    async fn heal(self, broker: &mut Broker) -> Result<()> {
        match self {
            Self::Killed | Self::Wiped => broker.server.start_again().await,
            Self::Paused => broker.server.resume(),
            Self::CutOff => {
                broker.cable.plug();
                Ok(())
            }
        }
    }
}

#[tokio::test]
async fn a_killed_broker_only_delays() -> Result<()> {
    strike_while_files_flow(Fault::Killed).await
}

#[tokio::test]
async fn a_paused_broker_only_delays() -> Result<()> {
    strike_while_files_flow(Fault::Paused).await
}

#[tokio::test]
async fn a_broker_that_is_cut_off_only_delays() -> Result<()> {
    strike_while_files_flow(Fault::CutOff).await
}

#[tokio::test]
async fn a_broker_that_forgot_everything_only_delays() -> Result<()> {
    strike_while_files_flow(Fault::Wiped).await
}

/// Files flow before, during and after the fault; each ends `ready` with one published result per rule.
async fn strike_while_files_flow(fault: Fault) -> Result<()> {
    assert_eq!(Fault::ALL.len(), 4, "a fault without a test");
    prove(over_nats(), async |usp| {
        let http = usp.admin().await?;
        let mut longest = Duration::ZERO;
        for round in 0..runs_per_fault() {
            let mut ids = put_files(&http, round, "before", 4).await?;
            fault.strike(usp.broker_mut()?)?;
            ids.extend(put_files(&http, round, "during", 4).await?);
            fault.heal(usp.broker_mut()?).await?;
            let healed = Instant::now();
            ids.extend(put_files(&http, round, "after", 4).await?);
            for id in &ids {
                ends_ready_once(&http, id).await.with_context(|| format!("round {round} of {fault:?}"))?;
            }
            longest = longest.max(healed.elapsed());
        }
        say(format_args!(
            "T14 {fault:?}: {} runs, all ready {longest:?} after healing at most",
            runs_per_fault()
        ));
        Ok(())
    })
    .await
}

async fn put_files(http: &Http, round: usize, phase: &str, count: usize) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for index in 0..count {
        let key = format!("{phase}-{round}-{index}.csv");
        let rows: String = (0..200).map(|row| format!("{row},{phase},{round}\n")).collect();
        let file = http.put(&key, "text/csv", format!("id,phase,round\n{rows}")).await?.must(201)?.value()?;
        ids.push(text(&file, "id")?.to_owned());
    }
    Ok(ids)
}

/// The file becomes `ready`, each of its rules ran to success exactly once, and each said so in one event.
async fn ends_ready_once(http: &Http, id: &str) -> Result<()> {
    let path = format!("/api/v1/files/{id}/status");
    let status = until("the file to be ready", HEALED_WITHIN, async || {
        let status = http.get(&path).await?.must(200)?.value()?;
        ensure!(status["state"] != "failed", "the file failed: {status}");
        Ok((status["state"] == "ready").then_some(status))
    })
    .await?;
    let runs = status["runs"].as_array().context("no runs")?;
    ensure!(!runs.is_empty(), "no rule took the file: {status}");
    let rules: BTreeSet<&str> = runs.iter().filter_map(|run| run["rule"].as_str()).collect();
    ensure!(rules.len() == runs.len(), "a rule ran twice: {status}");
    for run in runs {
        ensure!(run["state"] == "succeeded", "a run did not succeed: {status}");
    }
    Ok(())
}

#[tokio::test]
async fn what_happens_goes_out_as_cloud_events_as_the_gateway_tells_them() -> Result<()> {
    prove(over_nats(), async |usp| {
        let http = usp.admin().await?;
        let ids = put_files(&http, 0, "told", 3).await?;
        for id in &ids {
            ends_ready_once(&http, id).await?;
        }
        let mut told = BTreeMap::new();
        let mut events = http.events("/api/v1/events?after=0", None).await?;
        while told.values().filter(|event: &&Value| event["type"] == "usp.file.ready").count() < ids.len() {
            let event = events.next().await?.data;
            if !text(&event, "type")?.ends_with(".progress") {
                told.insert(text(&event, "id")?.to_owned(), event);
            }
        }
        let url = usp.broker_mut()?.url();
        let client = async_nats::connect(url).await?;
        let jetstream = async_nats::jetstream::new(client);
        let stream = until("the events to arrive", PATIENCE, async || {
            let stream = jetstream.get_stream("USP_EVENTS").await?;
            Ok((stream.cached_info().state.messages >= told.len() as u64).then_some(stream))
        })
        .await?;
        for (sequence, event) in (1..).zip(in_order(&told)) {
            let message = stream.get_raw_message(sequence).await?;
            let body: Value = serde_json::from_slice(&message.payload)?;
            assert_eq!(&body, event);
            assert_eq!(message.subject.as_str(), format!("usp.events.{}", text(event, "type")?));
            let content_type = message.headers.get("Content-Type").map(ToString::to_string);
            assert_eq!(content_type.as_deref(), Some("application/cloudevents+json; charset=utf-8"));
        }
        Ok(())
    })
    .await
}

fn in_order(told: &BTreeMap<String, Value>) -> Vec<&Value> {
    let mut events: Vec<&Value> = told.values().collect();
    events.sort_by_key(|event| event["id"].as_str().and_then(|id| id.parse::<i64>().ok()));
    events
}

#[tokio::test]
async fn the_status_of_the_queue_names_broker_streams_and_trouble() -> Result<()> {
    prove(over_nats(), async |usp| {
        let token = usp.token(&["--role", "admin"]).await?;
        let cli = usp.cli_with(Some(token.clone()))?;
        let status: Value = queue_status(&cli).await?;
        assert_eq!(status["kind"], "nats");
        assert_eq!(status["connected"], true);
        let streams: Vec<&str> = status["streams"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|stream| stream["name"].as_str())
            .collect();
        assert_eq!(streams, ["USP_WORK", "USP_EVENTS"]);
        let shown = cli.verb(&["admin", "queue", "status"]).await?.must_end_with(0)?.stdout;
        assert!(shown.contains("work-normal") && shown.contains("usp.events.>"), "{shown}");

        usp.broker_mut()?.server.kill()?;
        let cli = usp.cli_with(Some(token))?;
        let trouble = until("the trouble to be told", PATIENCE, async || {
            let status: Value = queue_status(&cli).await?;
            Ok(status["trouble"].as_str().map(str::to_owned))
        })
        .await?;
        assert!(trouble.contains("cannot be reached"), "{trouble}");
        // Uploads do not mind, and /readyz says both.
        let ready = until("the broker to be named", PATIENCE, async || {
            let ready = usp.anonymous()?.get("/readyz").await?.must(200)?.value()?;
            Ok((ready["waiting_for"] != Value::Array(Vec::new())).then_some(ready))
        })
        .await?;
        assert_eq!(ready["ready"], true, "{ready}");
        assert!(ready["waiting_for"][0].as_str().unwrap_or_default().contains("broker"), "{ready}");
        let http = usp.admin().await?;
        let ids = put_files(&http, 0, "without", 2).await?;
        for id in &ids {
            ends_ready_once(&http, id).await?;
        }
        Ok(())
    })
    .await
}

/// What a site with a guarded broker configures: a credentials file, and certificates on both sides.
#[tokio::test]
async fn a_guarded_broker_is_reached_as_configured() -> Result<()> {
    let (user, certificates) = (NatsUser::with_creds()?, NatsCertificates::make()?);
    let creds_file = certificates.dir().join("usp.creds");
    std::fs::write(&creds_file, &user.secret)?;
    let broker = NatsServer::start_with(&format!("{}\n{}", user.settings, certificates.settings())).await?;
    let (certificate, key) = certificates.identity();
    let config = format!(
        "[queue]\nkind = \"nats\"\nurl = \"tls://127.0.0.1:{}\"\ncreds_file = {creds_file:?}\ntls_required = true\n\
         tls_ca_file = {:?}\ntls_cert_file = {certificate:?}\ntls_key_file = {key:?}\n",
        broker.port(),
        certificates.ca_file(),
    );
    prove(setup().config(&config), async |usp| {
        let cli = usp.cli().await?;
        until("the broker to be reached", PATIENCE, async || {
            let status = queue_status(&cli).await?;
            ensure!(status["kind"] == "nats", "{status}");
            Ok((status["connected"] == true).then_some(()))
        })
        .await?;
        let http = usp.admin().await?;
        for id in &put_files(&http, 0, "guarded", 2).await? {
            ends_ready_once(&http, id).await?;
        }
        let said = usp.logs()?;
        assert!(!said.contains(user.secret.lines().nth(1).context("no JWT")?), "a credential was logged");
        Ok(())
    })
    .await
}

/// Offers that are traded while the rule is full buy nothing; each end of a run makes up for one of them.
#[tokio::test]
async fn a_rule_with_a_bound_goes_on_without_the_sweeper() -> Result<()> {
    const ONE_AT_A_TIME: &str = "name: single\nwhen: file.extension == 'rows'\nconcurrency: 1\nsteps: [{name: profile, uses: profile}]\n";
    let seldom = SHORT_LEASE.replace("[storage]\n", "[storage]\nsweep_interval = \"1h\"\n");
    prove(over_nats().config(&seldom).rule("single", ONE_AT_A_TIME), async |usp| {
        let http = usp.admin().await?;
        let mut ids = Vec::new();
        for number in 0..12 {
            // Long enough to read that the others wait.
            let file = http.put(&format!("{number}.rows"), "text/csv", csv(number, 5_000)).await?;
            ids.push(text(&file.must(201)?.value()?, "id")?.to_owned());
        }
        for id in &ids {
            ends_ready_once(&http, id).await?;
        }
        Ok(())
    })
    .await
}

async fn queue_status(cli: &Cli<'_>) -> Result<Value> {
    let outcome = cli.verb(&["admin", "queue", "status", "--json"]).await?.must_end_with(0)?;
    outcome.json()?.pop().context("no status")
}

#[tokio::test]
async fn whoever_starts_first_waits_and_says_for_what() -> Result<()> {
    for topology in [Topology::FourProcesses, Topology::FourProcessesOverNats] {
        let reversed = setup().topology(topology).config(SHORT_LEASE).storage_last();
        prove(reversed, async |usp| {
            let http = usp.admin().await?;
            let ids = put_files(&http, 0, "late", 2).await?;
            for id in &ids {
                ends_ready_once(&http, id).await?;
            }
            usp.kill_server("storage")?;
            let answer = until("the gateway to miss storage", PATIENCE, async || {
                let answer = usp.anonymous()?.get("/readyz").await?;
                Ok((answer.status == 503).then_some(answer))
            })
            .await?;
            assert!(answer.text().contains("the storage role at http://"), "{}", answer.text());
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Every role is restarted in turn while files are uploaded by a client that tries again.
#[tokio::test]
async fn a_rolling_restart_loses_no_upload_and_doubles_no_run() -> Result<()> {
    for topology in [Topology::FourProcesses, Topology::FourProcessesOverNats] {
        prove(setup().topology(topology).config(SHORT_LEASE), roll).await?;
    }
    Ok(())
}

async fn roll(usp: &mut Installation) -> Result<()> {
    let http = usp.admin().await?;
    let stop = AtomicBool::new(false);
    let restarts = async {
        for name in ["processor-1", "gateway", "storage", "processor-2"] {
            for gently in [true, false] {
                usp.restart(name, gently).await?;
            }
        }
        stop.store(true, Ordering::SeqCst);
        Ok(())
    };
    let (ids, ()) = tokio::try_join!(upload_until_told(&http, &stop), restarts)?;
    ensure!(ids.len() >= 8, "only {} files were uploaded meanwhile", ids.len());
    for id in &ids {
        ends_ready_once(&http, id).await?;
    }
    say(format_args!("rolling restart: {} uploads, all ready once", ids.len()));
    Ok(())
}

/// Uploads files one after the other, each until it is acknowledged.
async fn upload_until_told(http: &Http, stop: &AtomicBool) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for number in 0_u64.. {
        if stop.load(Ordering::SeqCst) {
            break;
        }
        let rows: String = bytes(number, 2_000).iter().map(|byte| format!("{byte},{number}\n")).collect();
        let content = format!("byte,number\n{rows}");
        let path = file_path("default", &format!("rolling-{number}.csv"));
        let id = until("an upload to be acknowledged", HEALED_WITHIN, async || {
            let request = http.request(reqwest::Method::PUT, &path);
            let request =
                request.header("content-type", "text/csv").header("idempotency-key", format!("r{number}"));
            match http.send(request.body(content.clone())).await {
                Ok(answer) if answer.status == 201 || answer.status == 200 => {
                    Ok(Some(text(&answer.value()?, "id")?.to_owned()))
                }
                Ok(answer) if answer.status >= 500 => Ok(None),
                Ok(answer) => anyhow::bail!("refused: {}", answer.text()),
                Err(_broken) => Ok(None),
            }
        })
        .await?;
        ids.push(id);
    }
    Ok(ids)
}
