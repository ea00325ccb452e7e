//! Launches kernels of `tests/cu` without an operation around them.

#![allow(dead_code, reason = "every test binary uses a part")]

use stepsynth_core::Result;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::cuda::{Argument, Device, Launch};

pub(crate) fn emulator() -> Emulator {
    Emulator::new((8, 0))
}

/// Memory with these bytes.
pub(crate) fn upload(emulator: &Emulator, bytes: &[u8]) -> u64 {
    let address = emulator.allocate(bytes.len()).unwrap();
    emulator.copy_in(address, bytes).unwrap();
    address
}

pub(crate) fn upload_f32(emulator: &Emulator, values: &[f32]) -> u64 {
    upload(emulator, &values.iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<_>>())
}

pub(crate) fn download_f32(emulator: &Emulator, address: u64, count: usize) -> Result<Vec<f32>> {
    let mut bytes = vec![0; count * 4];
    emulator.copy_out(address, &mut bytes)?;
    Ok(bytes.as_chunks().0.iter().map(|&bytes| f32::from_ne_bytes(bytes)).collect())
}

pub(crate) fn launch(emulator: &Emulator, kernel: &'static str, blocks: u32, threads: u32, arguments: &[Argument]) -> Result<()> {
    launch_with(emulator, kernel, blocks, threads, 0, arguments)
}

/// With dynamic shared memory.
pub(crate) fn launch_with(
    emulator: &Emulator,
    kernel: &'static str,
    blocks: u32,
    threads: u32,
    shared_bytes: u32,
    arguments: &[Argument],
) -> Result<()> {
    emulator.launch(&Launch {
        op: "test",
        source: "test",
        kernel,
        grid: [blocks, 1, 1],
        block: threads,
        shared_bytes,
        arguments: arguments.to_vec(),
    })
}

/// The call failed and its message has all these parts.
#[track_caller]
pub(crate) fn assert_fails<T>(result: Result<T>, parts: &[&str]) {
    let message = result.err().expect("nothing was reported").to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}
