//! What fails, when and how, and what was asked meanwhile.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use usp_model::{Error, ErrorKind, PackId};

/// What can be made to fail, by the names of the methods of the two traits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Create,
    Append,
    Sync,
    Truncate,
    Put,
    Read,
    Len,
    List,
    Delete,
    MoveToLostAndFound,
}

/// How one call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It answers this and does nothing.
    Before(ErrorKind),
    /// It does what it was asked, and answers this all the same: a lost answer.
    After(ErrorKind),
    /// It does half of it and answers this. An append writes half of its bytes; every other call is whole or nothing, so
    /// that this is `Before`.
    Short(ErrorKind),
    /// It succeeds after others went first so many times.
    Delay(u32),
}

/// A plan of failures, and a record of calls. Clones share both.
///
/// Shape: scripted faults are used up, the first that fits; then those of `always`, then those of `at_random`.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<Plan>>);

/// Called before a call fails.
type OnFault = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Plan {
    scripted: Vec<Scripted>,
    always: Vec<(Call, Fault)>,
    random: Option<Random>,
    gates: Vec<(Call, Arc<Semaphore>)>,
    on_fault: Option<OnFault>,
    calls: Vec<(Call, PackId)>,
    read_bytes: u64,
}

#[derive(Debug)]
struct Scripted {
    call: Call,
    skip_count: usize,
    fault: Fault,
}

#[derive(Debug)]
struct Random {
    state: u64,
    one_in: u64,
    faults: Vec<(Call, Fault)>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    /// Lets the call after `skip_count` more of its sort fail as a disk does: a write leaves half of its bytes behind.
    pub fn fail(&self, call: Call, skip_count: usize, kind: ErrorKind) {
        self.inject(call, skip_count, Fault::Short(kind));
    }

    /// Lets the call after `skip_count` more of its sort meet `fault`.
    pub fn inject(&self, call: Call, skip_count: usize, fault: Fault) {
        self.0.lock().scripted.push(Scripted { call, skip_count, fault });
    }

    /// Lets every call of the sort meet `fault` until `clear`.
    pub fn always(&self, call: Call, fault: Fault) {
        self.0.lock().always.push((call, fault));
    }

    /// Lets one in `one_in` of the calls that `faults` name meet its fault; which ones is a function of `seed` and of the
    /// order of the calls.
    pub fn at_random(&self, seed: u64, one_in: u64, faults: &[(Call, Fault)]) {
        self.0.lock().random = Some(Random { state: seed, one_in: one_in.max(1), faults: faults.to_vec() });
    }

    /// Nothing fails any more. Gates stay.
    pub fn clear(&self) {
        let mut plan = self.0.lock();
        plan.scripted.clear();
        plan.always.clear();
        plan.random = None;
    }

    /// Has calls of the sort wait, each for a permit that the test adds.
    pub fn gate(&self, call: Call) -> Arc<Semaphore> {
        let gate = Arc::new(Semaphore::new(0));
        self.0.lock().gates.push((call, Arc::clone(&gate)));
        gate
    }

    /// Runs `job` before each call that fails.
    pub fn on_fault(&self, job: impl Fn() + Send + Sync + 'static) {
        self.0.lock().on_fault = Some(Arc::new(job));
    }

    /// Every call so far, in order, without those of `Len` and `List`.
    pub fn calls(&self) -> Vec<(Call, PackId)> {
        self.0.lock().calls.clone()
    }

    /// How many calls of the sort there were.
    pub fn count(&self, call: Call) -> usize {
        self.0.lock().calls.iter().filter(|(made, _)| *made == call).count()
    }

    /// Bytes that reads asked for.
    pub fn read_bytes(&self) -> u64 {
        self.0.lock().read_bytes
    }

    /// Notes the call, waits at its gate, and answers the fault that is due.
    pub(crate) async fn enter(&self, call: Call, pack: PackId) -> Option<Fault> {
        let (fault, gate, on_fault) = {
            let mut plan = self.0.lock();
            if !matches!(call, Call::Len | Call::List) {
                plan.calls.push((call, pack));
            }
            let fault = plan.due(call);
            let gate = plan.gates.iter().find(|(gated, _)| *gated == call).map(|(_, gate)| Arc::clone(gate));
            (fault, gate, plan.on_fault.clone().filter(|_| fault.is_some()))
        };
        if let Some(gate) = gate
            && let Ok(permit) = gate.acquire().await
        {
            permit.forget();
        }
        if let Some(job) = on_fault {
            job();
        }
        fault
    }

    pub(crate) fn note_read(&self, bytes: u64) {
        self.0.lock().read_bytes += bytes;
    }
}

impl Plan {
    fn due(&mut self, call: Call) -> Option<Fault> {
        let mut due = None;
        self.scripted.retain_mut(|scripted| {
            if scripted.call != call || due.is_some() {
                return true;
            }
            if scripted.skip_count > 0 {
                scripted.skip_count -= 1;
                return true;
            }
            due = Some(scripted.fault);
            false
        });
        let always = self.always.iter().find(|(failing, _)| *failing == call).map(|(_, fault)| *fault);
        due.or(always).or_else(|| self.random.as_mut()?.due(call))
    }
}

impl Random {
    fn due(&mut self, call: Call) -> Option<Fault> {
        let fitting: Vec<Fault> =
            self.faults.iter().filter(|(failing, _)| *failing == call).map(|(_, fault)| *fault).collect();
        if fitting.is_empty() || !self.draw().is_multiple_of(self.one_in) {
            return None;
        }
        let index = usize::try_from(self.draw() % fitting.len() as u64).ok()?;
        fitting.get(index).copied()
    }

    /// SplitMix64.
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The error that a fault answers.
pub(crate) fn refusal(kind: ErrorKind, pack: PackId) -> Error {
    Error::new(kind, "do as the test says").about(pack)
}
