//! What the emulator finds in shared memory, and what it lets pass.

#![cfg(emulated)]

mod support;

use stepsynth_kernels::cuda::Argument::{I32, Input, Output};
use stepsynth_kernels::cuda::Device;
use support::{assert_fails, download_f32, emulator, launch, launch_with, upload_f32};

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| i as f32).collect()
}

#[test]
fn static_arrays_have_bounds() {
    let emulator = emulator();
    let (x, y) = (upload_f32(&emulator, &numbers(128)), emulator.allocate(512).unwrap());
    let run = |threads, shift| {
        let arguments = [Output(y), Input(x), I32(1), I32(shift)];
        launch(&emulator, "reverse_static", 128 / threads, threads, &arguments)
    };
    run(64, 0).unwrap();
    let expected: Vec<f32> = (0..2).flat_map(|block| (0..64).map(move |i| (block * 64 + 63 - i) as f32)).collect();
    assert_eq!(download_f32(&emulator, y, 128).unwrap(), expected);
    assert_fails(run(64, 1), &["a read of 4 bytes outside shared memory `values` (256 bytes)", "byte 256 ", "thread 0)"]);
    assert_fails(run(64, -1), &["a read of 4 bytes outside shared memory `values`", "byte -4 ", "thread 63)"]);
    assert_fails(run(128, 0), &["a write of 4 bytes outside shared memory `values`", "thread 64)"]);
    // Inside the array, but there nobody wrote.
    assert_fails(run(32, 1), &["a read of byte 128 of shared memory `values`", "never written", "thread 0)"]);
}

#[test]
fn dynamic_memory_has_the_launch_s_size() {
    let emulator = emulator();
    let (x, y) = (upload_f32(&emulator, &numbers(128)), emulator.allocate(512).unwrap());
    let run = |bytes, offset| launch_with(&emulator, "reverse_dynamic", 2, 64, bytes, &[Output(y), Input(x), I32(offset)]);
    run(256, 0).unwrap();
    run(272, 16).unwrap();
    assert_fails(run(255, 0), &["a write of 4 bytes outside shared memory `dynamic` (255 bytes)", "thread 63)"]);
    assert_fails(run(256, 16), &["outside shared memory `dynamic`", "thread 60)"]);
    assert_fails(run(0, 0), &["outside shared memory `dynamic` (0 bytes)"]);
    assert_fails(run(272, 2), &["not aligned"]);
    assert_fails(run(227 * 1024 + 1, 0), &["232449 bytes"]);
    assert_fails(launch(&emulator, "too_much_static", 1, 32, &[Output(y)]), &["static shared memory of 49156 bytes"]);
}

#[test]
fn threads_wait_before_they_read_what_others_wrote() {
    let emulator = emulator();
    let y = emulator.allocate(512).unwrap();
    let run = |how, distance| launch(&emulator, "neighbours", 1, 128, &[Output(y), I32(how), I32(distance)]);
    run(0, 0).unwrap();
    for how in [1, 2] {
        // Within the warp, and around its end.
        let warp = |distance| launch(&emulator, "neighbours", 1, 32, &[Output(y), I32(how), I32(distance)]);
        warp(1).unwrap();
        warp(31).unwrap();
    }
    // The other warp's values happen to be there; a warp's barrier does not see to that.
    assert_fails(run(1, 32), &["a race, thread 0 wrote it with no barrier between", "thread 32)"]);
    assert_fails(run(2, 40), &["a race, thread 0 wrote it with no barrier between", "thread 40)"]);
    run(3, 96).unwrap();
    run(3, 1).unwrap();
    assert_fails(run(0, 1), &["a race, thread 0 wrote it with no barrier between", "thread 1)"]);
    // In another order they are not there.
    let backwards = support::emulator().with_order(0);
    let y = backwards.allocate(512).unwrap();
    let arguments = [Output(y), I32(1), I32(32)];
    assert_fails(launch(&backwards, "neighbours", 1, 128, &arguments), &["never written, or only by a thread that runs later"]);
}

#[test]
fn threads_wait_before_they_overwrite_what_others_read() {
    let emulator = emulator();
    let y = emulator.allocate(256).unwrap();
    let run = |threads, barrier, writer| launch(&emulator, "overwrite", 1, threads, &[Output(y), I32(barrier), I32(writer)]);
    // One warp, then two.
    run(32, 1, 31).unwrap();
    run(64, 2, 63).unwrap();
    run(64, 2, 0).unwrap();
    assert_fails(run(32, 0, 31), &["a race, several threads of warp 0 read it", "thread 31)"]);
    assert_fails(run(64, 1, 63), &["a race, several warps read it", "thread 63)"]);
    assert_fails(run(64, 0, 32), &["a race, ", " read it with no barrier between", "thread 32)"]);
    // The writer reads last, so nothing in its own order is wrong; another order shows it.
    let backwards = support::emulator().with_order(0);
    let y = backwards.allocate(256).unwrap();
    let arguments = [Output(y), I32(0), I32(0)];
    assert_fails(launch(&backwards, "overwrite", 1, 32, &arguments), &["several threads of warp 0 read it"]);
}

#[test]
fn two_writers_race_even_with_the_same_value() {
    let emulator = emulator();
    let y = emulator.allocate(256).unwrap();
    let run = |other| launch(&emulator, "write_twice", 1, 64, &[Output(y), I32(other)]);
    run(0).unwrap();
    assert_fails(run(5), &["a write of byte 0 of shared memory `value`", "a race, thread 0 wrote it", "thread 5)"]);
    assert_fails(run(40), &["a race, thread 0 wrote it", "thread 40)"]);
    launch(&emulator, "small_values", 1, 64, &[Output(y)]).unwrap();
}

#[test]
fn blocks_begin_with_unwritten_memory() {
    let emulator = emulator();
    let y = emulator.allocate(256).unwrap();
    launch(&emulator, "left_behind", 2, 32, &[Output(y), I32(2)]).unwrap();
    assert_fails(launch(&emulator, "left_behind", 2, 32, &[Output(y), I32(1)]), &["never written", "(block (1,0,0), thread 0)"]);
}

#[test]
fn asynchronous_copies_are_waited_for() {
    let emulator = emulator();
    let (x, y) = (upload_f32(&emulator, &numbers(256)), emulator.allocate(1024).unwrap());
    let run = |wait, shift| launch(&emulator, "copy_in_flight", 1, 64, &[Output(y), Input(x), I32(wait), I32(shift)]);
    run(2, 1).unwrap();
    run(2, 0).unwrap();
    assert_eq!(download_f32(&emulator, y, 256).unwrap(), numbers(256));
    run(1, 0).unwrap();
    assert_fails(run(0, 0), &["shared memory `stage`", "a cp.async of thread 0 is still under way", "thread 0)"]);
    assert_fails(run(1, 1), &["a race, thread 0 wrote it with no barrier between", "thread 1)"]);

    let run = |barrier| launch(&emulator, "copy_too_early", 1, 64, &[Output(y), Input(x), I32(barrier)]);
    run(1).unwrap();
    assert_fails(run(0), &["a race, thread 0 read it with no barrier between", "thread 1)"]);
}

#[test]
fn matrix_instructions_want_whole_aligned_rows() {
    let emulator = emulator();
    let (x, y) = (upload_f32(&emulator, &numbers(8)), emulator.allocate(128).unwrap());
    let run = |to, from| launch(&emulator, "copy_unaligned", 1, 1, &[Output(y), Input(x), I32(to), I32(from)]);
    run(4, 4).unwrap();
    assert_fails(run(1, 4), &["cp.async's destination is not aligned"]);
    assert_fails(run(4, 2), &["cp.async's source is not aligned"]);
    assert_fails(run(8, 4), &["cp.async: a write of 16 bytes outside shared memory `stage`"]);
    assert_fails(run(0, 8), &["a read of 16 bytes outside argument 1"]);
    let run = |threads, shift| launch(&emulator, "matrix_row", 1, threads, &[Output(y), I32(shift)]);
    run(32, 0).unwrap();
    assert_fails(run(32, 1), &["a row of ldmatrix is not aligned"]);
    assert_fails(run(32, 8), &["a read of 16 bytes outside shared memory `stage`", "thread 31)"]);
    assert_fails(run(31, 0), &["a matrix instruction in a warp without 32 lanes"]);
}
