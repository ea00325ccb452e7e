//! Threads that wait for each other in vain, and the orders in which threads run.

#![cfg(emulated)]

mod support;

use stepsynth_core::Result;
use stepsynth_emulator::Emulator;
use stepsynth_kernels::cuda::Argument::{F32, I32, I64, Input, Output};
use stepsynth_kernels::cuda::Device;
use support::{assert_fails, download_f32, emulator, launch, upload, upload_f32};

#[test]
fn all_threads_of_a_block_come_to_its_barrier() {
    let emulator = emulator();
    let y = emulator.allocate(256).unwrap();
    let run = |leave| launch(&emulator, "barrier_without_some", 2, 64, &[Output(y), I32(leave)]);
    assert_fails(run(64), &["block (0,0,0)"]);
    let one_block = |leave| launch(&emulator, "barrier_without_some", 1, 64, &[Output(y), I32(leave)]);
    one_block(64).unwrap();
    one_block(0).unwrap();
    assert_fails(one_block(63), &["threads 0-62 wait at sync_block; thread 63 has finished", "(block (0,0,0))"]);
    assert_fails(one_block(32), &["threads 0-31 wait at sync_block; threads 32-63 have finished"]);
    let run = |longer| launch(&emulator, "barriers_in_a_loop", 1, 64, &[Output(y), I32(longer)]);
    run(64).unwrap();
    run(0).unwrap();
    assert_fails(run(32), &["threads 0-31 have finished; threads 32-63 wait at sync_block"]);
}

#[test]
fn all_lanes_take_part_in_a_warp_s_operation() {
    let emulator = emulator();
    let y = emulator.allocate(256).unwrap();
    for (what, name) in [(0, "at sync_warp"), (1, "in a shuffle"), (2, "in a ballot"), (3, "in an mma")] {
        let run = |leave, finish| launch(&emulator, "warp_without_some", 1, 64, &[Output(y), I32(what), I32(leave), I32(finish)]);
        run(64, 0).unwrap();
        // Another warp may do something else.
        run(32, 0).unwrap();
        let first = format!("threads 0-9 wait {name}; threads 10-31 wait at sync_block (block (0,0,0))");
        assert_fails(run(10, 0), &["a warp that cannot go on", &first]);
        let second = format!("threads 32-62 wait {name}; thread 63 has finished");
        assert_fails(run(63, 1), &["a warp that cannot go on", &second]);
    }
    assert_fails(
        launch(&emulator, "different_operations", 1, 32, &[Output(y)]),
        &["threads 0-15 wait in a shuffle; threads 16-31 wait in a ballot"],
    );
    launch(&emulator, "lane_that_is_missing", 1, 32, &[Output(y)]).unwrap();
    let missing = "a shuffle from a lane that the warp does not have";
    assert_fails(launch(&emulator, "lane_that_is_missing", 1, 48, &[Output(y)]), &[missing, "threads 32-47"]);
}

#[test]
fn lanes_exchange_values() {
    let emulator = emulator();
    let y = emulator.allocate(64 * 12).unwrap();
    launch(&emulator, "exchanges", 1, 64, &[Output(y)]).unwrap();
    let values = download_f32(&emulator, y, 192).unwrap();
    for (thread, values) in values.chunks(3).enumerate() {
        let next = thread / 32 * 32 + (thread + 1) % 32;
        assert_eq!(values, [next as f32, (thread ^ 5) as f32, 1.0], "thread {thread}");
    }
}

/// Results of a kernel with barriers and shuffles, and of one that depends on the order.
fn results(emulator: &Emulator) -> Result<(Vec<f32>, Vec<f32>)> {
    let x = upload_f32(emulator, &(0..512).map(|i| (i as f32).sin()).collect::<Vec<_>>());
    let y = emulator.allocate(2048)?;
    launch(emulator, "many_barriers", 2, 256, &[Output(y), Input(x), I32(5)])?;
    let right = download_f32(emulator, y, 512)?;
    let ticket = upload(emulator, &[0; 4]);
    launch(emulator, "order_dependent", 2, 256, &[Output(y), Output(ticket)])?;
    Ok((right, download_f32(emulator, y, 512)?))
}

#[test]
fn the_order_of_threads_can_be_changed() {
    let (right, tickets) = results(&emulator()).unwrap();
    assert_eq!(tickets, (0..512).map(|i| i as f32).collect::<Vec<_>>());
    let mut seen = vec![tickets];
    for seed in 0..4 {
        let (same, mut tickets) = results(&emulator().with_order(seed)).unwrap();
        assert_eq!(right, same);
        assert_eq!(results(&emulator().with_order(seed)).unwrap().1, tickets, "the same seed, the same order");
        assert!(!seen.contains(&tickets), "an order that was there before");
        seen.push(tickets.clone());
        if seed == 0 {
            tickets.reverse();
            // Warps and lanes backwards, and so all of them.
            assert_eq!(tickets, (0..512).map(|i| i as f32).collect::<Vec<_>>());
        }
    }
}

#[test]
fn stacks_hold_what_a_thread_may_want() {
    let emulator = emulator();
    let y = emulator.allocate(128).unwrap();
    launch(&emulator, "deep_stack", 1, 32, &[Output(y), I32(16384)]).unwrap();
}

#[test]
fn launches_have_the_limits_of_a_device() {
    let emulator = emulator();
    let y = emulator.allocate(128).unwrap();
    assert_fails(launch(&emulator, "exchanges", 1, 1025, &[Output(y)]), &["blocks of 1025 threads"]);
    assert_fails(launch(&emulator, "exchanges", 1, 0, &[Output(y)]), &["blocks of 0 threads"]);
    assert_fails(launch(&emulator, "exchanges", 1, 32, &[Output(y), I64(1), F32(1.0)]), &["(output, i64, f32)"]);
}
