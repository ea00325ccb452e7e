//! The index arithmetic of the Hopper product, whose instructions nothing but the device runs.

mod support;

use stepsynth_emulator::Emulator;
use stepsynth_kernels::cuda::Argument::{I32, Input, Output};
use stepsynth_kernels::cuda::Device;
use support::{download_f32, emulator, launch, upload};

/// What the copy engine puts into shared memory is what wgmma reads: for both orders of an operand, within the matrix and over
/// its edges.
#[test]
fn descriptors_name_what_was_copied() {
    if !Emulator::available() {
        return;
    }
    let emulator = emulator();
    let (left, right) = (emulator.allocate(4 * 128 * 64).unwrap(), emulator.allocate(4 * 128 * 64).unwrap());
    // Extent of the operand and depth of the product, then the slice.
    for (extent, depth, first, deep) in [(256, 128, 128, 64), (200, 80, 128, 64), (40, 24, 0, 0)] {
        for inner in [true, false] {
            let (rows, columns) = if inner { (extent, depth) } else { (depth, extent) };
            // Whole numbers to 256 are exact in bf16.
            let number = |row: usize, column: usize| ((row * 7 + column * 3) % 255 + 1) as f32;
            let values = (0..rows * columns).map(|i| number(i / columns, i % columns));
            let bytes: Vec<u8> = values.flat_map(|value| ((value.to_bits() >> 16) as u16).to_ne_bytes()).collect();
            let matrix = upload(&emulator, &bytes);
            let kernel = if inner { "hopper_depth_inner" } else { "hopper_depth_outer" };
            let sizes = [rows, columns, first, deep].map(|size| I32(size as i32));
            launch(&emulator, kernel, 1, 64, &[&[Output(left), Output(right), Input(matrix)], &sizes[..]].concat()).unwrap();
            let expected: Vec<f32> = (0..128 * 64)
                .map(|i| match (first + i / 64, deep + i % 64) {
                    (along, deep) if along >= extent || deep >= depth => 0.0,
                    (along, deep) if inner => number(along, deep),
                    (along, deep) => number(deep, along),
                })
                .collect();
            for operand in [left, right] {
                assert!(download_f32(&emulator, operand, 128 * 64).unwrap() == expected, "{kernel} {extent} {depth}");
            }
        }
    }
}

#[test]
fn the_ring_turns_alike_for_all() {
    if !Emulator::available() {
        return;
    }
    let emulator = emulator();
    let places = emulator.allocate(4 * 4 * 50).unwrap();
    launch(&emulator, "hopper_ring", 1, 1, &[Output(places), I32(50)]).unwrap();
    let places = download_f32(&emulator, places, 4 * 50).unwrap();
    for (index, place) in places.chunks_exact(4).enumerate() {
        let expected = [index % 5, index / 5 % 2].map(|number| number as f32);
        assert_eq!((&place[..2], &place[2..]), (&expected[..], &expected[..]), "{index}");
    }
}

#[test]
fn every_tile_has_one_block() {
    if !Emulator::available() {
        return;
    }
    let emulator = emulator();
    for (rows, columns) in [(1, 1), (7, 3), (8, 6), (9, 1), (1, 20), (21, 5)] {
        let tiles = emulator.allocate(4 * rows * columns).unwrap();
        launch(&emulator, "tile_order", 1, 1, &[Output(tiles), I32(rows as i32), I32(columns as i32)]).unwrap();
        let mut found: Vec<usize> = download_f32(&emulator, tiles, rows * columns).unwrap().iter().map(|&x| x as usize).collect();
        found.sort_unstable();
        assert!(found.iter().copied().eq(0..rows * columns), "{rows} x {columns}: {found:?}");
    }
}
