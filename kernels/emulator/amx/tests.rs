//! The emulator against the assembler's encodings, sums done by hand and the faults that the manual lists.
#![allow(unsafe_code)]

use std::arch::asm;

use super::decode::{Instruction, decode};
use super::machine::{Fault, Machine};
use super::trap::{emulate, is_released};

/// The bytes that the assembler makes of instructions, which are not executed.
macro_rules! assemble {
    ($($line:literal),* $(,)?) => {{
        let (start, end): (*const u8, *const u8);
        // SAFETY: only takes the addresses of two labels in constant data.
        unsafe {
            asm!(
                "lea {0}, [rip + 22f]", "lea {1}, [rip + 23f]", ".pushsection .rodata", "22:", $($line,)* "23:", ".popsection",
                out(reg) start, out(reg) end, options(nomem, nostack, preserves_flags),
            );
            std::slice::from_raw_parts(start, end.offset_from_unsigned(start))
        }
    }};
}

/// The `n`-th register holds `(n + 1) * 0x1000`: rax 0x1000, rsp 0x5000, r15 0x10000.
const REGISTERS: [usize; 16] = {
    let mut registers = [0; 16];
    let mut index = 0;
    while index < 16 {
        registers[index] = (index + 1) << 12;
        index += 1;
    }
    registers
};

#[test]
fn every_form_of_address_is_decoded() {
    const RIP: usize = 0x40_0000;
    let code = assemble![
        "tileloadd tmm0, [rax + rbx*1]",
        "tileloadd tmm7, [rsp + r15*2 + 64]",
        "tileloaddt1 tmm3, [r13 + r12*4 - 128]",
        "tileloadd tmm1, [rbp + rcx*8 + 0x12345]",
        "tileloaddt1 tmm2, [r12]",
        "tileloadd tmm5, [rdx*2 + 16]",
        "tileloadd tmm6, [r13 + r14*1]",
        "tilestored [r8 + r9*1 - 4096], tmm6",
        "tilestored [rdi + rsi*1], tmm4",
        "tilezero tmm5",
        "tilerelease",
        "tdpbf16ps tmm0, tmm4, tmm7",
        "tdpbf16ps tmm7, tmm1, tmm6",
        "ldtilecfg [r13]",
        "ldtilecfg [rsp]",
        "ldtilecfg [rax + rcx*4 + 8]",
        "ldtilecfg [rdx - 64]",
    ];
    let expected = [
        Instruction::Load { tile: 0, address: 0x1000, stride: 0x4000 },
        Instruction::Load { tile: 7, address: 0x5040, stride: 0x2_0000 },
        Instruction::Load { tile: 3, address: 0xE000 - 128, stride: 0xD000 * 4 },
        Instruction::Load { tile: 1, address: 0x6000 + 0x1_2345, stride: 0x2000 * 8 },
        Instruction::Load { tile: 2, address: 0xD000, stride: 0 },
        Instruction::Load { tile: 5, address: 16, stride: 0x6000 },
        Instruction::Load { tile: 6, address: 0xE000, stride: 0xF000 },
        Instruction::Store { tile: 6, address: 0x9000 - 4096, stride: 0xA000 },
        Instruction::Store { tile: 4, address: 0x8000, stride: 0x7000 },
        Instruction::Zero { tile: 5 },
        Instruction::Release,
        Instruction::Dot { c: 0, a: 4, b: 7 },
        Instruction::Dot { c: 7, a: 1, b: 6 },
        Instruction::Configure { address: 0xE000 },
        Instruction::Configure { address: 0x5000 },
        Instruction::Configure { address: 0x1000 + 0x2000 * 4 + 8 },
        Instruction::Configure { address: 0x3000 - 64 },
    ];
    let mut at = 0;
    for instruction in expected {
        let (decoded, length) = decode(|offset| code[at + offset], RIP + at, &REGISTERS).expect("a tile instruction");
        assert_eq!(decoded, instruction, "at byte {at}");
        at += length;
    }
    assert_eq!(at, code.len());
}

#[test]
fn an_address_relative_to_the_instruction_counts_from_its_end() {
    // ldtilecfg [rip - 2]: nine bytes.
    let code = [0xC4, 0xE2, 0x78, 0x49, 0x05, 0xFE, 0xFF, 0xFF, 0xFF];
    let decoded = decode(|offset| code[offset], 0x1000, &REGISTERS);
    assert_eq!(decoded, Some((Instruction::Configure { address: 0x1000 + 9 - 2 }, 9)));
}

#[test]
fn other_instructions_are_left_alone() {
    for code in [
        assemble!["tdpbssd tmm0, tmm1, tmm2", "nop; nop"],
        assemble!["sttilecfg [rax]", "nop; nop"],
        assemble!["vfmadd231ps xmm0, xmm1, xmm2", "nop; nop"],
        assemble!["vpsignb xmm0, xmm1, [rax]", "nop; nop"],
        assemble!["andn rax, rcx, rdx", "nop; nop"],
        assemble!["ud2", "nop; nop; nop; nop; nop"],
    ] {
        assert_eq!(decode(|offset| code[offset], 0, &REGISTERS), None, "{code:x?}");
    }
}

/// Fills the rows of a tile.
fn fill(machine: &mut Machine, tile: usize, mut bytes_of: impl FnMut(usize) -> Vec<u8>) {
    let load = |row: usize, bytes: &mut [u8]| {
        bytes.copy_from_slice(&bytes_of(row));
        Ok(())
    };
    machine.load(tile, load).unwrap();
}

/// The rows of a tile.
fn rows_of(machine: &mut Machine, tile: usize) -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    let store = |_: usize, bytes: &[u8]| {
        rows.push(bytes.to_vec());
        Ok(())
    };
    machine.store(tile, store).unwrap();
    rows
}

/// A configuration of (rows, bytes a row) for each tile from the first on.
fn configuration(tiles: &[(u8, u16)]) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    for (index, &(rows, row_bytes)) in tiles.iter().enumerate() {
        bytes[48 + index] = rows;
        bytes[16 + 2 * index..18 + 2 * index].copy_from_slice(&row_bytes.to_le_bytes());
    }
    bytes
}

#[test]
fn a_wrong_configuration_faults_and_changes_nothing() {
    let good = configuration(&[(16, 64), (1, 4), (0, 0), (3, 7)]);
    let mut machine = Machine::new();
    assert_eq!(machine.configure(&good), Ok(()));
    fill(&mut machine, 0, |_| vec![7; 64]);
    for (at, value) in [(0, 2), (2, 1), (15, 1), (16, 65), (17, 1), (48, 17), (48, 0), (18, 0), (50, 1), (32, 4), (56, 1)] {
        let mut bad = good;
        bad[at] = value;
        assert!(matches!(machine.configure(&bad), Err(Fault::Protection(_))), "byte {at} = {value}");
    }
    assert_eq!(rows_of(&mut machine, 0), [[7; 64]; 16]);
    // A good one clears the tiles, palette 0 releases them.
    machine.configure(&good).unwrap();
    assert_eq!(rows_of(&mut machine, 0), [[0; 64]; 16]);
    machine.configure(&[0; 64]).unwrap();
    assert!(machine.is_released());
}

#[test]
fn tiles_that_do_not_fit_fault() {
    let undefined = |result: Result<(), Fault>| assert!(matches!(result, Err(Fault::Undefined(_))), "{result:?}");
    let mut machine = Machine::new();
    undefined(machine.zero(0));
    undefined(machine.dot(0, 1, 2));
    // 0, 1, 2: a good product of (2, 4) and (4, 3). Then: other rows of c, other columns of c, other depth, odd bytes, unused.
    machine.configure(&configuration(&[(2, 12), (2, 8), (2, 12), (3, 12), (2, 16), (2, 12), (2, 6), (0, 0)])).unwrap();
    assert_eq!(machine.dot(0, 1, 2), Ok(()));
    for (c, a, b) in
        [(3, 1, 2), (4, 1, 2), (0, 5, 2), (0, 6, 2), (7, 1, 2), (0, 7, 2), (0, 1, 7), (0, 0, 2), (0, 1, 1), (2, 1, 2)]
    {
        undefined(machine.dot(c, a, b));
    }
    undefined(machine.load(7, |_, _| Ok(())));
    undefined(machine.store(7, |_, _| Ok(())));
}

/// bf16 bits of a value that has no more digits.
fn bits(value: f32) -> [u8; 2] {
    assert_eq!(value.to_bits() & 0xFFFF, 0, "{value} is no bf16");
    ((value.to_bits() >> 16) as u16).to_le_bytes()
}

/// One output: `c` plus the products of `a` and `b`, an even number of them.
fn dot(c: f32, a: &[f32], b: &[f32]) -> f32 {
    let pairs = (a.len() / 2) as u8;
    let mut machine = Machine::new();
    machine.configure(&configuration(&[(1, 4), (1, 4 * u16::from(pairs)), (pairs, 4)])).unwrap();
    fill(&mut machine, 0, |_| c.to_le_bytes().to_vec());
    fill(&mut machine, 1, |_| a.iter().flat_map(|&value| bits(value)).collect());
    fill(&mut machine, 2, |row| [bits(b[2 * row]), bits(b[2 * row + 1])].concat());
    machine.dot(0, 1, 2).unwrap();
    f32::from_le_bytes(rows_of(&mut machine, 0)[0].as_slice().try_into().unwrap())
}

#[test]
fn a_product_by_hand() {
    // (1 2 3 4; 5 6 7 8) by (1 0 2; 0 1 3; 1 1 0; 2 0 1), upon (100 200 300; 400 500 600).
    let mut machine = Machine::new();
    machine.configure(&configuration(&[(2, 12), (2, 8), (2, 12)])).unwrap();
    let floats = |values: [f32; 3]| values.map(f32::to_le_bytes).concat();
    let pairs = |values: &[f32]| values.iter().flat_map(|&value| bits(value)).collect::<Vec<_>>();
    let c = [floats([100.0, 200.0, 300.0]), floats([400.0, 500.0, 600.0])];
    let a = [pairs(&[1.0, 2.0, 3.0, 4.0]), pairs(&[5.0, 6.0, 7.0, 8.0])];
    let b = [pairs(&[1.0, 0.0, 0.0, 1.0, 2.0, 3.0]), pairs(&[1.0, 2.0, 1.0, 0.0, 0.0, 1.0])];
    for (tile, rows) in [&c, &a, &b].into_iter().enumerate() {
        fill(&mut machine, tile, |row| rows[row].clone());
    }
    machine.dot(0, 1, 2).unwrap();
    let expected = [floats([112.0, 205.0, 312.0]), floats([428.0, 513.0, 636.0])];
    assert_eq!(rows_of(&mut machine, 0), expected);
}

#[test]
fn sums_are_taken_in_the_manuals_order() {
    let big = 16_777_216.0;
    // Even and odd depths are apart: in one chain the first 1 would be lost.
    assert_eq!(dot(0.0, &[big, 1.0, -big, 1.0], &[1.0; 4]), 2.0);
    // The sums start from zero: upon c, both would be lost.
    assert_eq!(dot(big, &[1.0, 1.0], &[1.0; 2]), big + 2.0);
    // In order of depth: the 1 comes before the large numbers and is lost in them.
    assert_eq!(dot(0.0, &[1.0, 0.0, big, 0.0, -big, 0.0], &[1.0; 6]), 0.0);
    // To nearest even.
    assert_eq!(dot(big + 2.0, &[1.0, 0.0], &[1.0; 2]), big + 4.0);
}

#[test]
fn subnormal_numbers_are_zero() {
    let (smallest, smallest_normal) = (f32::from_bits(0x0001_0000), f32::MIN_POSITIVE);
    assert_eq!(dot(0.0, &[smallest, 0.0], &[2.0_f32.powi(127), 0.0]), 0.0);
    assert_eq!(dot(0.0, &[2.0_f32.powi(127), 0.0], &[smallest, 0.0]), 0.0);
    assert_eq!(dot(f32::from_bits(1), &[0.0; 2], &[0.0; 2]), 0.0);
    assert_eq!(dot(0.0, &[smallest_normal, 0.0], &[0.5, 0.0]), 0.0);
    assert_eq!(dot(0.0, &[smallest_normal, 0.0], &[1.0, 0.0]), smallest_normal);
    // 1.5 times the smallest normal number less that number is subnormal.
    assert_eq!(dot(-smallest_normal, &[smallest_normal, 0.0], &[1.5, 0.0]), 0.0);
}

#[test]
fn not_a_number_and_infinity_pass() {
    assert!(dot(0.0, &[f32::NAN, 0.0], &[0.0, 0.0]).is_nan());
    assert!(dot(0.0, &[f32::INFINITY, 0.0], &[0.0, 0.0]).is_nan());
    assert!(dot(f32::NAN, &[0.0, 0.0], &[0.0, 0.0]).is_nan());
    assert_eq!(dot(0.0, &[f32::INFINITY, 1.0], &[-1.0, 1.0]), f32::NEG_INFINITY);
    assert!(dot(f32::INFINITY, &[f32::INFINITY, 0.0], &[-1.0, 0.0]).is_nan());
}

#[test]
fn what_a_load_does_not_fill_is_zero() {
    let mut machine = Machine::new();
    machine.configure(&configuration(&[(3, 6), (3, 6)])).unwrap();
    fill(&mut machine, 0, |_| vec![9; 6]);
    let stop = Fault::Undefined("stop");
    let load = |row: usize, bytes: &mut [u8]| {
        bytes.fill(1);
        if row < 1 { Ok(()) } else { Err(stop) }
    };
    assert_eq!(machine.load(0, load), Err(stop));
    assert_eq!(rows_of(&mut machine, 0), [[1; 6], [1; 6], [0; 6]]);
}

/// Runs real instructions: loads tile 0 from the first rows of `data`, adds nothing, and stores it after them.
fn copy_by_tile(data: &mut [u8], readable: std::ops::Range<usize>, configure: bool) -> Result<usize, Fault> {
    #[repr(align(64))]
    struct Aligned([u8; 64]);
    let tiles = Aligned(configuration(&[(2, 64)]));
    let (from, config) = (data.as_mut_ptr(), tiles.0.as_ptr());
    let base = from as usize;
    emulate([base + readable.start..base + readable.end, 0..0], base + 128..base + 256, || {
        // SAFETY: `data` has 256 bytes; instructions that the emulator forbids do nothing.
        unsafe {
            if configure {
                asm!("ldtilecfg [{}]", in(reg) config, options(nostack));
            }
            asm!(
                "tileloadd tmm0, [{0} + {1}*1]", "tilestored [{0} + {1}*1 + 128], tmm0", "tilerelease",
                in(reg) from, in(reg) 64_usize, options(nostack),
            );
        }
    })
}

/// On a processor with AMX the instructions do not trap, so there is nothing to emulate.
fn has_tiles() -> bool {
    std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| text.contains("amx_tile"))
}

#[test]
fn the_trap_executes_and_continues() {
    if has_tiles() {
        return;
    }
    let mut data: Vec<u8> = (0..=255).collect();
    assert_eq!(copy_by_tile(&mut data, 0..128, true), Ok(4));
    assert!((0..128).all(|at| data[128 + at] == data[at]) && data[..128].iter().copied().eq(0..128));
    assert!(is_released());
}

#[test]
fn the_trap_reports_what_is_forbidden() {
    if has_tiles() {
        return;
    }
    let mut data = vec![1; 256];
    data[128..].fill(2);
    let before = data.clone();
    let base = data.as_ptr() as usize;
    assert_eq!(copy_by_tile(&mut data, 0..127, true), Err(Fault::Memory { address: base + 64, bytes: 64, write: false }));
    // The emulator forbids the release after a fault, too.
    assert!(!is_released());
    assert_eq!(data, before);
    std::thread::spawn(move || {
        let mut data = before.clone();
        assert_eq!(copy_by_tile(&mut data, 0..128, false), Err(Fault::Undefined("no tiles are configured")));
        assert_eq!(data, before);
    })
    .join()
    .unwrap();
}
