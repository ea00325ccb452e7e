//! Asks the processor and the system for AMX; the standard library's own detection is unstable (rust-lang/rust #126622).
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::{__cpuid_count, __get_cpuid_max, _xgetbv};

/// `arch_prctl`, its request for the use of a state component, and the component that holds the tiles
/// (Documentation/arch/x86/xstate.rst of Linux).
const SYS_ARCH_PRCTL: usize = 158;
const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
const XFEATURE_XTILEDATA: usize = 18;

/// Whether the tile instructions on bf16 may run in this process; asks the system for leave, which holds for all threads.
pub(super) fn probe() -> Result<(), String> {
    processor(cpuid)?;
    // SAFETY: `processor` found XSAVE enabled by the system, which is what `xgetbv` needs.
    system(unsafe { enabled_states() })?;
    permission(request_permission())
}

/// Leaf and subleaf to (eax, ebx, ecx, edx); zeros beyond the last leaf, where the processor would repeat it.
fn cpuid(leaf: u32, subleaf: u32) -> [u32; 4] {
    // SAFETY: every x86-64 processor has `cpuid`.
    #[allow(unused_unsafe, reason = "safe from Rust 1.94 on")]
    let registers = unsafe { (leaf <= __get_cpuid_max(0).0).then(|| __cpuid_count(leaf, subleaf)) };
    registers.map_or([0; 4], |r| [r.eax, r.ebx, r.ecx, r.edx])
}

/// What the processor must have: AMX-TILE and AMX-BF16, XSAVE enabled, and a palette 1 with the sizes we configure.
pub(super) fn processor(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Result<(), String> {
    const OSXSAVE: u32 = 1 << 27;
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    let [_, _, _, features] = cpuid(7, 0);
    if features & (AMX_BF16 | AMX_TILE) != AMX_BF16 | AMX_TILE {
        return Err(String::from("the processor has no AMX with bf16"));
    }
    let [_, _, state, _] = cpuid(1, 0);
    if state & OSXSAVE == 0 {
        return missing_in_system();
    }
    let [tile_bytes, row_bytes, rows, _] = cpuid(0x1D, 1);
    let palette = (tile_bytes >> 16, row_bytes & 0xFFFF, row_bytes >> 16, rows & 0xFFFF);
    if palette == (1024, 64, 8, 16) {
        Ok(())
    } else {
        Err(format!("the processor's tiles have other sizes than those of palette 1: {palette:?}"))
    }
}

/// XCR0: the state components that the system saves.
///
/// # Safety
/// The system has enabled XSAVE.
#[target_feature(enable = "xsave")]
unsafe fn enabled_states() -> u64 {
    // SAFETY: by the caller.
    unsafe { _xgetbv(0) }
}

/// Whether the system saves the tiles' configuration (17) and data (18).
pub(super) fn system(enabled_states: u64) -> Result<(), String> {
    const TILES: u64 = 0b11 << 17;
    if enabled_states & TILES == TILES { Ok(()) } else { missing_in_system() }
}

/// The system call's result: 0 or minus the error number.
fn request_permission() -> isize {
    let mut result = SYS_ARCH_PRCTL as isize;
    // SAFETY: a system call that takes two numbers and touches no memory of ours; it clobbers rcx, r11 and the flags.
    unsafe {
        asm!(
            "syscall",
            inout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result
}

pub(super) fn permission(result: isize) -> Result<(), String> {
    if result == 0 { Ok(()) } else { Err(format!("the system refuses the use of tiles (arch_prctl: error {})", -result)) }
}

fn missing_in_system() -> Result<(), String> {
    Err(String::from("the processor has AMX, but the system does not save its tiles (Linux does from 5.16 on)"))
}
