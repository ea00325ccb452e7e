//! Takes the illegal-instruction signal and continues behind an emulated tile instruction.
#![allow(unsafe_code)]

use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::ptr::{copy_nonoverlapping, null_mut};
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use super::decode::{Instruction, decode};
use super::machine::{Fault, Machine};

/// What an emulated run may touch, and what it did.
#[derive(Clone, Copy)]
struct Run {
    active: bool,
    /// First and last-plus-one address of the memory that may be read; the last one may also be written.
    memory: [(usize, usize); 3],
    instructions: usize,
    fault: Option<Fault>,
}

const IDLE: Run = Run { active: false, memory: [(0, 0); 3], instructions: 0, fault: None };

/// Whether threads outside of a run have their tile instructions emulated too.
static EVERYWHERE: AtomicBool = AtomicBool::new(false);

thread_local! {
    // Constant and without destructors, so that the signal handler's access neither allocates nor registers anything.
    static MACHINE: UnsafeCell<Machine> = const { UnsafeCell::new(Machine::new()) };
    static RUN: Cell<Run> = const { Cell::new(IDLE) };
}

/// Runs `work` with the tile instructions of this thread emulated and returns how many there were. They may read the
/// addresses in `readable` and `writable` and write the latter; the first thing forbidden is returned, and the instructions
/// from there on do nothing. The tiles keep their state until the thread's next run.
pub(crate) fn emulate(readable: [Range<usize>; 2], writable: Range<usize>, work: impl FnOnce()) -> Result<usize, Fault> {
    /// Ends the run when `work` panics, too.
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            RUN.set(Run { active: false, ..RUN.get() });
        }
    }
    install();
    assert!(!RUN.get().active, "emulated runs do not nest");
    let ends = |range: &Range<usize>| (range.start, range.end);
    let [first, second] = &readable;
    RUN.set(Run { active: true, memory: [ends(first), ends(second), ends(&writable)], ..IDLE });
    let end = End;
    work();
    drop(end);
    let run = RUN.get();
    run.fault.map_or(Ok(run.instructions), Err)
}

/// Emulates the tile instructions of all threads from now on, wherever they read and write. One that is not allowed, such as a
/// product of tiles that are not configured, ends the process as an illegal instruction.
pub(crate) fn emulate_everywhere() {
    install();
    EVERYWHERE.store(true, Ordering::Relaxed);
}

/// Whether this thread's tiles are in their initial state.
pub(crate) fn is_released() -> bool {
    // SAFETY: only this thread's handler touches the machine otherwise, and it does not run within this expression, which
    // has no tile instruction.
    MACHINE.with(|machine| unsafe { &*machine.get() }.is_released())
}

/// Takes the signal, once in a process.
fn install() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(take_signal);
}

fn take_signal() {
    // SAFETY: an all-zero `sigaction` is a valid value; the handler has the signature that SA_SIGINFO asks for, keeps to
    // what is safe in a handler (no allocation, no lock), and ends the process for signals that are not its own.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_illegal_instruction as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(libc::SIGILL, &raw const action, null_mut())
    };
    assert_eq!(result, 0, "sigaction");
}

/// Where the system keeps rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15, in the order of their numbers.
const REGISTERS: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

extern "C" fn on_illegal_instruction(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel passes the interrupted thread's context, which it restores when the handler returns.
    let general = unsafe { &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs };
    let registers = REGISTERS.map(|name| general[name as usize] as usize);
    let rip = general[libc::REG_RIP as usize] as usize;
    // SAFETY: the processor has just fetched the instruction there; `decode` reads no byte beyond it unless it is another
    // one, and then still within the code of this test.
    let decoded = decode(|offset| unsafe { *(rip as *const u8).add(offset) }, rip, &registers);
    let mut run = RUN.get();
    let free = !run.active && EVERYWHERE.load(Ordering::Relaxed);
    if free {
        run = Run { memory: [(0, usize::MAX); 3], ..IDLE };
    }
    let done = decoded.filter(|_| run.active || free).and_then(|(instruction, length)| {
        run.instructions += 1;
        if run.fault.is_none() {
            // SAFETY: the machine is this thread's, and the thread stands in a tile instruction, so nothing else borrows it.
            run.fault = MACHINE.with(|machine| execute(unsafe { &mut *machine.get() }, instruction, &run.memory)).err();
        }
        if run.active {
            RUN.set(run);
        }
        (run.active || run.fault.is_none()).then_some(length)
    });
    let Some(length) = done else {
        // Not ours, or forbidden: back to the default action, and into the same instruction again, which now ends the process.
        // SAFETY: `signal` is safe to call in a handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        return;
    };
    general[libc::REG_RIP as usize] += length as i64;
}

fn execute(machine: &mut Machine, instruction: Instruction, memory: &[(usize, usize); 3]) -> Result<(), Fault> {
    let allow = |address: usize, bytes: usize, write: bool| {
        let within = |&(start, end): &(usize, usize)| start <= address && address.saturating_add(bytes) <= end;
        let ranges = if write { &memory[2..] } else { &memory[..] };
        if ranges.iter().any(within) { Ok(()) } else { Err(Fault::Memory { address, bytes, write }) }
    };
    match instruction {
        Instruction::Configure { address } => {
            // SAFETY: the code under test gives the address of its 64 bytes; a wrong one faults as it would on a processor.
            machine.configure(&unsafe { *(address as *const [u8; 64]) })
        }
        Instruction::Release => {
            machine.release();
            Ok(())
        }
        Instruction::Zero { tile } => machine.zero(tile),
        Instruction::Load { tile, address, stride } => machine.load(tile, |row, bytes| {
            let from = address.wrapping_add(row.wrapping_mul(stride));
            allow(from, bytes.len(), false)?;
            // SAFETY: the row lies in memory that the test declared readable for the run, and `bytes` is the machine's own.
            unsafe { copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
            Ok(())
        }),
        Instruction::Store { tile, address, stride } => machine.store(tile, |row, bytes| {
            let to = address.wrapping_add(row.wrapping_mul(stride));
            allow(to, bytes.len(), true)?;
            // SAFETY: the row lies in memory that the test declared writable for the run, and `bytes` is the machine's own.
            unsafe { copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
            Ok(())
        }),
        Instruction::Dot { c, a, b } => machine.dot(c, a, b),
    }
}
