//! What a worker process takes from itself before it reads a byte.
//!
//! 1. Resource limits: memory, no file may grow, few open files, no core dumps; and it gives way to the service when both
//!    want the processor.
//! 2. Landlock, where the kernel has it: no file or directory can be opened, no TCP port bound or connected to.
//! 3. Seccomp, where the kernel has it: no sockets, no other programs, no look into other processes and no signal to them.
//!
//! Its environment is empty and it inherits three pipes, so there is nothing to read secrets from. What 2 or 3 cannot
//! have on an old kernel is done without: the bounds of 1 hold everywhere.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetError};
use rustix::process::{Pid, Resource, Rlimit, Signal, getpid, getppid, kill_process, nice, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};

/// What a worker process may use.
#[derive(Debug, Clone, Copy)]
pub struct ChildLimits {
    /// Of heap and stacks.
    pub memory_bytes: u64,
}

/// Standard input, output and error, and some to spare for the runtime.
const OPEN_FILE_COUNT_MAX: u64 = 16;
/// Added to the nice value that the service has: uploads and reads go before steps.
const NICE: i32 = 10;
/// Programs and libraries that are mapped besides what the memory bound counts.
const MAPPED_BYTES: u64 = 2 << 30;

impl ChildLimits {
    /// Bounds this process for the rest of its life, and ends it soon after the one that started it is gone.
    pub fn confine(self) -> io::Result<()> {
        bound(Resource::Data, self.memory_bytes)?;
        bound(Resource::As, self.memory_bytes.saturating_add(MAPPED_BYTES))?;
        bound(Resource::Fsize, 0)?;
        bound(Resource::Core, 0)?;
        let parent = getppid();
        nice(NICE)?;
        bound(Resource::Nofile, OPEN_FILE_COUNT_MAX)?;
        // Both are done without on a kernel that does not have them. A thread has the bounds that stood when it began.
        let _where_there = close_files();
        end_with_parent(parent)?;
        let _where_there = close_calls();
        Ok(())
    }
}

fn bound(resource: Resource, most: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?)
}

/// A step that computes without end reads nothing, so the end of its input would not stop it.
fn end_with_parent(parent: Option<Pid>) -> io::Result<()> {
    const LOOK_EVERY: Duration = Duration::from_secs(1);
    /// The first allocation of a thread alone may take more than 64 KiB of it (docs/adr/0035-jemalloc.md).
    const STACK_BYTES: usize = 512 << 10;
    let watch = move || {
        while getppid() == parent {
            std::thread::sleep(LOOK_EVERY);
        }
        // Fails only when the process is gone already.
        let _gone = kill_process(getpid(), Signal::KILL);
    };
    std::thread::Builder::new().name("parent-watch".to_owned()).stack_size(STACK_BYTES).spawn(watch)?;
    Ok(())
}

fn close_files() -> Result<(), RulesetError> {
    // Rights that this kernel does not know are left out by themselves.
    const KNOWN: ABI = ABI::V5;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .create()?;
    rules.restrict_self()?;
    Ok(())
}

fn close_calls() -> Result<(), seccompiler::Error> {
    const NOT_PERMITTED: u32 = 1;
    let refused = [
        libc::SYS_socket,
        libc::SYS_socketpair,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_tkill,
        libc::SYS_rt_sigqueueinfo,
        libc::SYS_pidfd_send_signal,
        libc::SYS_pidfd_getfd,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_io_uring_setup,
        libc::SYS_bpf,
        libc::SYS_mount,
        libc::SYS_unshare,
        libc::SYS_setns,
    ];
    let mut rules: BTreeMap<i64, _> = refused.into_iter().map(|call| (call, Vec::new())).collect();
    // A process may end itself, and no other.
    let own = getpid().as_raw_nonzero().get().unsigned_abs();
    let other = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, own.into())?;
    for call in [libc::SYS_kill, libc::SYS_tgkill] {
        rules.insert(call, vec![SeccompRule::new(vec![other.clone()])?]);
    }
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(NOT_PERMITTED), arch)?;
    let program = BpfProgram::try_from(filter)?;
    seccompiler::apply_filter_all_threads(&program)
}
