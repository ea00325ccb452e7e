//! What the emulator finds in global memory, and what it lets pass.

#![cfg(emulated)]

mod support;

use stepsynth_emulator::Emulator;
use stepsynth_kernels::cuda::Argument::{I32, I64, Input, Output};
use stepsynth_kernels::cuda::Device;
use support::{assert_fails, download_f32, emulator, launch, upload, upload_f32};

#[test]
fn accesses_stay_inside_their_buffer() {
    let emulator = emulator();
    let x = upload_f32(&emulator, &[1.0; 100]);
    // What lies beside must not save a wrong access.
    let _beside = upload_f32(&emulator, &[1.0; 100]);
    let y = emulator.allocate(400).unwrap();
    let run = |kernel, shift| launch(&emulator, kernel, 2, 64, &[Output(y), Input(x), I64(100), I64(shift)]);
    run("shifted_copy", 0).unwrap();
    run("shifted_read", 0).unwrap();
    let place = "(block (1,0,0), thread 35)";
    assert_fails(
        run("shifted_copy", 1),
        &["shifted_copy in test", "a write of 4 bytes outside argument 0 (an output of 400 bytes)", "byte 400 ", place],
    );
    assert_fails(run("shifted_read", 1), &["a read of 4 bytes outside argument 1 (an input of 400 bytes)", "byte 400 ", place]);
    assert_fails(run("shifted_read", -1), &["outside argument 1", "byte -4 ", "(block (0,0,0), thread 0)"]);
    assert_fails(run("shifted_read", 1 << 40), &["outside argument 1"]);
}

#[test]
fn a_tensor_ends_before_its_memory_does() {
    let emulator = emulator();
    let x = upload_f32(&emulator, &[1.0; 100]);
    let y = emulator.allocate(512).unwrap();
    emulator.issue(y, 400);
    let run = |shift| launch(&emulator, "shifted_copy", 2, 64, &[Output(y), Input(x), I64(100), I64(shift)]);
    run(0).unwrap();
    assert_fails(run(1), &["outside argument 0 (an output of 400 bytes)"]);
}

#[test]
fn vectors_are_aligned() {
    let emulator = emulator();
    let x = upload_f32(&emulator, &[1.0; 132]);
    let y = emulator.allocate(4 * 128).unwrap();
    let run = |shift| launch(&emulator, "vector_copy", 1, 32, &[Output(y), Input(x), I64(shift)]);
    run(0).unwrap();
    run(4).unwrap();
    assert_fails(run(1), &["a vector load is not aligned"]);
    assert_fails(run(8), &["a read of 16 bytes outside argument 1", "byte 528 "]);
    let run = |shift| launch(&emulator, "vector_store", 1, 31, &[Output(y), I64(shift)]);
    run(0).unwrap();
    assert_fails(run(2), &["a vector store is not aligned"]);
    assert_fails(run(8), &["a write of 16 bytes outside argument 0", "byte 512 "]);
}

#[test]
fn writes_past_the_checks_show_in_the_red_zones() {
    for (bytes, at) in [(400, 100), (400, 131), (400, -1), (256, 64)] {
        let emulator = emulator();
        let y = upload(&emulator, &vec![0; bytes]);
        launch(&emulator, "raw_write", 1, 1, &[Output(y), I64(1)]).unwrap();
        assert_fails(launch(&emulator, "raw_write", 1, 1, &[Output(y), I64(at)]), &["a write past the checks", "argument 0"]);
    }
}

#[test]
fn inputs_are_not_written() {
    let emulator = emulator();
    let (x, y) = (upload_f32(&emulator, &[1.0; 4]), upload_f32(&emulator, &[1.0; 4]));
    assert_fails(launch(&emulator, "write_to_input", 1, 1, &[Output(y), Input(x)]), &["a write to argument 1 (an input"]);
    // Pointers are __restrict__: an input that is an output as well may be read from a stale register.
    assert_fails(launch(&emulator, "shifted_copy", 1, 1, &[Output(x), Input(x), I64(1), I64(0)]), &["arguments 0 and 1", "same"]);
}

#[test]
fn null_is_an_argument_that_may_be_asked_for() {
    let emulator = emulator();
    let y = emulator.allocate(128).unwrap();
    launch(&emulator, "copy_if_there", 1, 32, &[Output(y), Input(0), I32(0)]).unwrap();
    assert_eq!(download_f32(&emulator, y, 32).unwrap(), [0.0; 32]);
    assert_fails(launch(&emulator, "copy_if_there", 1, 32, &[Output(y), Input(0), I32(1)]), &["a null pointer"]);
    let gone = emulator.allocate(128).unwrap();
    emulator.release(gone);
    assert_fails(launch(&emulator, "copy_if_there", 1, 32, &[Output(y), Input(gone), I32(0)]), &["argument 1 is not in any"]);
}

#[test]
fn arguments_have_the_declared_kinds() {
    let emulator = emulator();
    let y = emulator.allocate(128).unwrap();
    assert_fails(launch(&emulator, "vector_store", 1, 1, &[Output(y), I32(0)]), &["(output, i64)", "(output, i32)"]);
    assert_fails(launch(&emulator, "vector_store", 1, 1, &[Output(y)]), &["(output, i64)", "(output)"]);
    assert_fails(launch(&emulator, "nothing", 1, 1, &[]), &["no such kernel"]);
}

#[test]
fn memory_has_to_be_written_before_it_is_read() {
    let emulator = emulator();
    let (x, y) = (emulator.allocate(400).unwrap(), emulator.allocate(400).unwrap());
    let copy = || launch(&emulator, "shifted_copy", 2, 64, &[Output(y), Input(x), I64(100), I64(0)]);
    let fill = |gap| launch(&emulator, "fill_with_gaps", 2, 64, &[Output(x), I64(100), I32(gap)]);
    assert_fails(copy(), &["a read of byte 0 of argument 1", "never written", "thread 0)"]);
    fill(10).unwrap();
    assert_fails(copy(), &["a read of byte 36 of argument 1", "never written", "thread 9)"]);
    fill(0).unwrap();
    copy().unwrap();
    // The same memory for another tensor.
    emulator.issue(x, 400);
    assert_fails(copy(), &["a read of byte 0 of argument 1", "never written"]);
    emulator.zero(x, 400).unwrap();
    copy().unwrap();
    emulator.retire(x);
    assert_fails(copy(), &["a read of byte 0 of argument 1", "never written"]);
    // Half a value is not a value.
    emulator.issue(x, 400);
    launch(&emulator, "half_of_each", 1, 100, &[Output(x)]).unwrap();
    assert_fails(copy(), &["a read of byte 2 of argument 1", "never written"]);
}

#[test]
fn an_output_is_written_whole() {
    let emulator = emulator();
    let y = emulator.allocate(400).unwrap();
    let fill = |gap| launch(&emulator, "fill_with_gaps", 2, 64, &[Output(y), I64(100), I32(gap)]);
    fill(25).unwrap();
    assert_fails(
        download_f32(&emulator, y, 100),
        &["16 of 400 bytes were never written", "the first is byte 96", "an output of fill_with_gaps"],
    );
    assert_eq!(download_f32(&emulator, y, 24).unwrap(), [1.0; 24]);
    fill(0).unwrap();
    assert_eq!(download_f32(&emulator, y, 100).unwrap(), [1.0; 100]);
    assert_fails(download_f32(&emulator, y, 101), &["404 bytes that are not in one allocation"]);

    let lenient = support::emulator().with_unwritten_copies();
    let y = lenient.allocate(400).unwrap();
    launch(&lenient, "fill_with_gaps", 2, 64, &[Output(y), I64(100), I32(25)]).unwrap();
    let values = download_f32(&lenient, y, 100).unwrap();
    assert_eq!(values.iter().filter(|value| value.is_nan()).count(), 4, "unwritten memory is NaN");
}

#[test]
fn blocks_do_not_share_what_they_write() {
    let emulator = emulator();
    let y = emulator.allocate(4 * 32 * 4).unwrap();
    let run = |overlap| launch(&emulator, "overlapping_blocks", 4, 32, &[Output(y), I32(overlap)]);
    run(0).unwrap();
    // A second launch may write the same.
    run(0).unwrap();
    assert_fails(
        run(1),
        &["a write of byte 128 of argument 0", "block (0,0,0) of this launch wrote it", "block (1,0,0), thread 0"],
    );

    let (y, sums) = (upload_f32(&emulator, &[1.0; 4]), emulator.allocate(16).unwrap());
    let run = |shift| launch(&emulator, "reads_neighbour", 4, 32, &[Output(y), Output(sums), I32(shift)]);
    run(0).unwrap();
    assert_fails(run(-1), &["a read of byte 0 of argument 0", "block (0,0,0) of this launch wrote it", "block (1,0,0)"]);
    assert_fails(run(1), &["a write of byte 4 of argument 0", "block (0,0,0) of this launch read it", "block (1,0,0)"]);
}

#[test]
fn atomic_operations_do_not_race() {
    let emulator = emulator();
    let counter = upload(&emulator, &[0; 4]);
    let run = |by_hand| launch(&emulator, "count_threads", 3, 64, &[Output(counter), I32(by_hand)]);
    run(0).unwrap();
    assert_eq!(download_f32(&emulator, counter, 1).unwrap()[0].to_bits(), 192);
    assert_fails(run(1), &["a read of byte 0", "block (0,0,0) of this launch wrote it"]);
}

#[test]
fn threads_of_a_block_do_not_race_in_global_memory() {
    let emulator = emulator();
    let (y, sums) = (emulator.allocate(512).unwrap(), emulator.allocate(8).unwrap());
    let run = |barrier| launch(&emulator, "sum_over_global", 2, 64, &[Output(y), Output(sums), I32(barrier)]);
    run(1).unwrap();
    assert_eq!(download_f32(&emulator, sums, 2).unwrap(), [64.0; 2]);
    // In one order the value is not there yet, in the other it happens to be.
    assert_fails(sum_without_barrier(&support::emulator()), &["a read of byte 4 of argument 0", "never written", "thread 0)"]);
    let backwards = support::emulator().with_order(0);
    assert_fails(sum_without_barrier(&backwards), &["thread 1 wrote it with no barrier between", "thread 0)"]);
}

fn sum_without_barrier(emulator: &Emulator) -> stepsynth_core::Result<()> {
    let (y, sums) = (emulator.allocate(512).unwrap(), emulator.allocate(8).unwrap());
    launch(emulator, "sum_over_global", 2, 64, &[Output(y), Output(sums), I32(0)])
}

#[test]
fn an_emulator_works_from_any_thread_and_beside_others() {
    let emulator = emulator();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = Emulator::new((8, 0));
                for device in [&emulator, &own] {
                    let x = upload_f32(device, &[3.0; 100]);
                    let y = device.allocate(400).unwrap();
                    launch(device, "shifted_copy", 2, 64, &[Output(y), Input(x), I64(100), I64(0)]).unwrap();
                    assert_eq!(download_f32(device, y, 100).unwrap(), [3.0; 100]);
                    device.release(x);
                    assert!(launch(&own, "shifted_copy", 2, 64, &[Output(y), Input(x), I64(100), I64(0)]).is_err());
                }
            });
        }
    });
}
