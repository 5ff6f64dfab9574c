//! The processor's side of worker processes.
//!
//! A worker serves many steps, one after the other, so that small files do not pay for a new process each. It is
//! replaced after anything but an answer: then nobody knows what is left in it or in its pipes. Stopping a step is
//! killing its worker. A step that computes and reads nothing for a while gives way to all others, and its worker is
//! replaced too: a process may lower its priority and not raise it.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use rustix::process::{Pid, setpriority_process};
use scheduler::{Policy, set_policy};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use usp_rt::Shutdown;
use usp_steps::{Progress, StepError, StepOutput};

use super::frame::{self, HEAD_BYTES, Kind};
use super::{Content, Order};
use crate::content::Gauge;
use crate::metrics::ProcessorMetrics;

/// What is started to run steps.
#[derive(Debug, Clone)]
pub struct WorkerProgram {
    /// Leads to [`super::serve_steps`] over standard input and output.
    pub program: PathBuf,
    pub args: Vec<OsString>,
    /// What it bounds itself to, for the sentence that says so.
    pub memory_bytes: u64,
}

/// Steps that one worker runs before a new one takes its place, so that nothing gathers in it.
const STEP_COUNT_MAX: u32 = 5_000;
/// Time on a processor without a sign that something was read, which there is every 256 KiB: a step that goes on longer
/// may do so for ever. Without optimisation everything takes ten times as long.
const VAIN_TIME: Duration = Duration::from_millis(if cfg!(debug_assertions) { 600 } else { 60 });
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pieces are cut to this, far below the bound of a frame.
const PIECE_BYTES_MAX: usize = 1 << 20;
/// The end of what a worker printed: enough for a panic message or what the allocator said.
const LAST_WORDS_BYTES_MAX: usize = 4 << 10;

/// Worker processes that wait for work; as many as can be at work, at most.
pub(super) struct Workers {
    program: WorkerProgram,
    idle: Mutex<Vec<Worker>>,
    idle_count_max: usize,
    metrics: ProcessorMetrics,
}

struct Worker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_words: JoinHandle<String>,
    step_count: u32,
}

/// How an exchange with a worker ended.
enum Said {
    Answer(Result<StepOutput, StepError>),
    Panicked(String),
}

impl Workers {
    pub(super) fn new(program: WorkerProgram, idle_count_max: usize, metrics: ProcessorMetrics) -> Self {
        Self { program, idle: Mutex::default(), idle_count_max, metrics }
    }

    pub(super) async fn run(
        &self,
        order: &Order,
        content: Content,
        gauge: &Gauge,
    ) -> Result<StepOutput, StepError> {
        let mut worker = self.worker().map_err(|error| {
            tracing::error!(error = %error, "no worker process could be started");
            StepError::Temporary(format!("no worker process could be started: {error}"))
        })?;
        let stop = gauge.stop();
        let mut watch = worker.process().map(|process| Watch::begin(process, gauge));
        let mut gives_way = false;
        let said = {
            let mut exchange = std::pin::pin!(worker.exchange(order, content, gauge));
            loop {
                tokio::select! {
                    said = &mut exchange => break said,
                    // Dropped, it is killed.
                    () = stop.cancelled() => return Err(StepError::Cancelled),
                    () = sleep(LOOK_EVERY), if !gives_way => {
                        if let Some(watch) = &mut watch
                            && watch.is_vain(gauge)
                        {
                            gives_way = true;
                            give_way(watch.process);
                        }
                    }
                }
            }
        };
        match said {
            Ok(Said::Answer(answer)) => {
                if !gives_way {
                    self.keep(worker);
                }
                answer
            }
            Ok(Said::Panicked(text)) => {
                self.metrics.worker_lost();
                Err(StepError::Temporary(format!("the step panicked: {text}")))
            }
            Err(error) => {
                self.metrics.worker_lost();
                let reason = worker.reason_of_end(&self.program, order, &error).await;
                tracing::warn!(step = order.uses, reason, "a worker process ended in the middle of its step");
                Err(StepError::Temporary(reason))
            }
        }
    }

    fn worker(&self) -> io::Result<Worker> {
        while let Some(mut worker) = self.take_idle() {
            // One that ended while it waited harmed nobody.
            if matches!(worker.child.try_wait(), Ok(None)) {
                return Ok(worker);
            }
        }
        self.metrics.worker_started();
        Worker::start(&self.program)
    }

    fn take_idle(&self) -> Option<Worker> {
        self.idle.lock().pop()
    }

    fn keep(&self, worker: Worker) {
        let mut idle = self.idle.lock();
        if worker.step_count < STEP_COUNT_MAX && idle.len() < self.idle_count_max {
            idle.push(worker);
        }
    }
}

/// What a step did when it was last looked at.
struct Watch {
    process: Pid,
    read_bytes: u64,
    /// Ticks of processor time up to then.
    used: u64,
}

impl Watch {
    /// Of the kernel's reports, whatever its own are (man 7 time).
    const TICKS_PER_S: u64 = 100;

    fn begin(process: Pid, gauge: &Gauge) -> Self {
        Self { process, read_bytes: gauge.total_read(), used: used_ticks(process).unwrap_or(0) }
    }

    /// Whether it took [`VAIN_TIME`] of a processor since it last read something. A step that waits, or that others do
    /// not let have one, takes none.
    fn is_vain(&mut self, gauge: &Gauge) -> bool {
        let Some(used) = used_ticks(self.process) else { return false };
        let read_bytes = gauge.total_read();
        if read_bytes != self.read_bytes {
            (self.read_bytes, self.used) = (read_bytes, used);
            return false;
        }
        let vain_ms = used.saturating_sub(self.used).saturating_mul(1_000) / Self::TICKS_PER_S;
        u128::from(vain_ms) >= VAIN_TIME.as_millis()
    }
}

/// User and system time: fields 14 and 15 of `/proc/PID/stat`, behind a name that may hold anything.
fn used_ticks(process: Pid) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid())).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user.saturating_add(system))
}

/// Lets everybody else go first: under `SCHED_IDLE` whoever wakes takes the processor at once, where a low priority alone
/// keeps it to the end of its slice.
fn give_way(process: Pid) {
    const NICE_MAX: i32 = 19;
    if set_policy(process.as_raw_pid(), Policy::Idle, 0).is_ok() {
        return;
    }
    if let Err(error) = setpriority_process(Some(process), NICE_MAX) {
        tracing::debug!(%error, "a step that reads nothing keeps its priority");
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Worker {
    fn start(program: &WorkerProgram) -> io::Result<Self> {
        let mut child = Command::new(&program.program)
            .args(&program.args)
            .env_clear()
            // Holds no directory that someone may want to take away.
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(io::Error::other("its pipes are missing"));
        };
        let last_words = tokio::spawn(last_words(errors));
        Ok(Self { child, input, output: BufReader::new(output), last_words, step_count: 0 })
    }

    fn process(&self) -> Option<Pid> {
        self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    /// One order and its answer. Cancel: the worker is of no use any more.
    async fn exchange(&mut self, order: &Order, content: Content, gauge: &Gauge) -> io::Result<Said> {
        self.step_count += 1;
        let answered = Shutdown::new();
        let sent = send(&mut self.input, order, content, &answered);
        let said = async {
            let said = hear(&mut self.output, gauge).await;
            answered.cancel();
            said
        };
        // A worker that is gone breaks both; what it said before counts.
        let (sent, said) = tokio::join!(sent, said);
        let said = said?;
        if !matches!(said, Said::Panicked(_)) {
            sent?;
        }
        Ok(said)
    }

    /// A sentence that says how the worker came to its end.
    async fn reason_of_end(mut self, program: &WorkerProgram, order: &Order, error: &io::Error) -> String {
        const END_WITHIN: Duration = Duration::from_secs(2);
        let Ok(Ok(status)) = timeout(END_WITHIN, self.child.wait()).await else {
            return format!("the worker process did not keep to its protocol ({error}) and was ended");
        };
        let words = timeout(END_WITHIN, &mut self.last_words).await;
        let words = words.ok().and_then(Result::ok).unwrap_or_default();
        sentence(status, &words, program.memory_bytes, order.timeout_s)
    }
}

fn sentence(status: ExitStatus, words: &str, memory_bytes: u64, timeout_s: u64) -> String {
    const ABORTED: i32 = 6;
    const KILLED: i32 = 9;
    const CPU_TIME_OVER: i32 = 24;
    let memory_mib = memory_bytes >> 20;
    match status.signal() {
        Some(ABORTED) if words.contains("memory allocation of") => {
            format!("the step needed more memory than the {memory_mib} MiB that a worker process may use")
        }
        Some(ABORTED) if words.contains("overflowed its stack") => "the step ran out of stack".to_owned(),
        Some(ABORTED) => "the step aborted its worker process".to_owned(),
        Some(KILLED) => {
            "the worker process was killed from outside, most likely because the machine ran out of memory"
                .to_owned()
        }
        Some(CPU_TIME_OVER) => format!("the step used more than {timeout_s} s of processor time"),
        Some(signal) => format!("the worker process was ended by signal {signal}"),
        None => {
            let last = usp_model::error::printable(words.lines().next_back().unwrap_or_default());
            format!("the worker process ended in the middle of the step ({status}): {last}")
        }
    }
}

/// Sends the order and its content; stops early, at the border of a piece, once the answer is there.
async fn send(
    input: &mut ChildStdin,
    order: &Order,
    content: Content,
    answered: &Shutdown,
) -> io::Result<()> {
    send_frame(input, Kind::Begin, &frame::encode_order(order)?).await?;
    match content {
        Content::Whole(bytes) => send_piece(input, bytes).await?,
        Content::Stream(mut content) => loop {
            let piece = tokio::select! {
                biased;
                () = answered.cancelled() => None,
                piece = content.next() => piece,
            };
            match piece {
                None => break,
                Some(Ok(piece)) => send_piece(input, piece).await?,
                Some(Err(error)) => return send_frame(input, Kind::Broken, error.detail().as_bytes()).await,
            }
        },
    }
    send_frame(input, Kind::End, &[]).await
}

async fn send_piece(input: &mut ChildStdin, mut piece: Bytes) -> io::Result<()> {
    while !piece.is_empty() {
        let part = piece.split_to(piece.len().min(PIECE_BYTES_MAX));
        send_frame(input, Kind::Piece, &part).await?;
    }
    Ok(())
}

async fn send_frame(input: &mut ChildStdin, kind: Kind, body: &[u8]) -> io::Result<()> {
    /// What is no longer than this goes out in one write with its head.
    const SMALL_BYTES: usize = 64 << 10;
    let head = frame::head(kind, body.len())?;
    if body.len() > SMALL_BYTES {
        input.write_all(&head).await?;
        return input.write_all(body).await;
    }
    input.write_all(&[&head, body].concat()).await
}

/// Listens until the step has ended.
async fn hear(output: &mut (impl AsyncRead + Unpin), gauge: &Gauge) -> io::Result<Said> {
    let mut body = Vec::new();
    loop {
        let mut head = [0; HEAD_BYTES];
        output.read_exact(&mut head).await?;
        let (kind, length) = frame::parse_head(head)?;
        body.clear();
        body.resize(length, 0);
        output.read_exact(&mut body).await?;
        match kind {
            Kind::Read => {
                let total = body.as_slice().try_into().map(u64::from_le_bytes).unwrap_or_default();
                gauge.bytes_read(total);
            }
            Kind::Output => return Ok(Said::Answer(Ok(frame::decode_output(&body)?))),
            Kind::Failed => return Ok(Said::Answer(Err(frame::decode_failed(&body)?))),
            Kind::Panicked => return Ok(Said::Panicked(String::from_utf8_lossy(&body).into_owned())),
            Kind::Begin | Kind::Piece | Kind::End | Kind::Broken => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a worker gave an order"));
            }
        }
    }
}

/// Reads what a worker prints to its end and keeps the last of it.
async fn last_words(mut errors: impl AsyncRead + Unpin) -> String {
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    while let Ok(count) = errors.read(&mut piece).await {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(piece.get(..count).unwrap_or_default());
        let surplus = kept.len().saturating_sub(LAST_WORDS_BYTES_MAX);
        kept.drain(..surplus);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a program is found vain that is looked at for four seconds as a step is.
    async fn is_vain(program: &str, reads: bool) -> io::Result<bool> {
        let mut child = std::process::Command::new("sh").args(["-c", program]).spawn()?;
        let process =
            i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let gauge = Gauge::default();
        let mut watch = Watch::begin(process, &gauge);
        let mut is_vain = false;
        let mut looks = tokio::time::interval(LOOK_EVERY);
        for look in 0..200 {
            looks.tick().await;
            if reads {
                gauge.bytes_read(look);
            }
            is_vain = is_vain || watch.is_vain(&gauge);
        }
        give_way(process);
        let policy = scheduler::get_policy(process.as_raw_pid());
        child.kill()?;
        child.wait()?;
        assert!(matches!(policy, Ok(Policy::Idle)));
        Ok(is_vain)
    }

    #[tokio::test]
    async fn only_a_step_that_computes_and_reads_nothing_gives_way() -> io::Result<()> {
        assert!(is_vain("while :; do :; done", false).await?);
        assert!(!is_vain("while :; do :; done", true).await?, "it goes on, however long");
        assert!(!is_vain("exec sleep 60", false).await?, "it waits for something");
        Ok(())
    }

    #[test]
    fn every_end_of_a_worker_has_its_sentence() {
        let said = |raw: i32, words: &str| sentence(ExitStatus::from_raw(raw), words, 512 << 20, 60);
        assert!(said(6, "memory allocation of 99 bytes failed").contains("more memory than the 512 MiB"));
        assert!(said(6, "thread 'main' has overflowed its stack").contains("ran out of stack"));
        assert!(said(6, "").contains("aborted"));
        assert!(said(9, "").contains("out of memory"));
        assert!(said(24, "").contains("60 s of processor time"));
        assert!(said(11, "").contains("signal 11"));
        assert!(said(1 << 8, "one\nlast \u{1b}[31mwords").contains("last "));
    }
}
