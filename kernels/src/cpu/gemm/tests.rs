//! Products on every instruction set of this machine.

use std::sync::Arc;

use super::kernel::SLOTS;
use super::*;

/// Integers of at most five in magnitude, so that sums are exact in any order and precision.
fn integers(length: usize, seed: usize) -> Vec<f32> {
    (0..length).map(|index| ((index * 7 + seed * 13) % 11) as f32 - 5.0).collect()
}

fn turned(x: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|index| x[index % rows * columns + index / rows]).collect()
}

fn engines() -> impl Iterator<Item = Engine> {
    let engine = |(isa, precision)| Engine::new(isa, precision, Arc::default());
    Isa::available().flat_map(|isa| [(isa, Precision::F32), (isa, Precision::Bf16)]).map(engine)
}

fn product(engine: &Engine, out: &mut [f32], a: View<'_>, b: View<'_>, accumulate: bool) {
    let panels = engine.pack(&Workers::new(1, engine.isa).unwrap(), b);
    engine.rows(out, a, 0, &panels, accumulate, |_, _, sums, out| out.copy_from_slice(sums));
}

#[test]
fn products_are_exact_on_integers() {
    let sizes = [0, 1, 15, 17, 31, 33, 511, 513];
    for (m_at, n_at) in (0..8).flat_map(|m| (0..8).map(move |n| (m, n))) {
        let (m, n) = (sizes[m_at], sizes[n_at]);
        // All pairs of sizes with some depth, and every depth with some pairs.
        let depths = [sizes[(m_at + 3 * n_at) % 8], sizes[(5 * m_at + n_at) % 8], 2 * SLOTS + 35];
        for k in depths.into_iter().take(if m * n < 1000 { 3 } else { 2 }) {
            let (a, b) = (integers(m * k, 1), integers(k * n, 2));
            let (at, bt) = (turned(&a, m, k), turned(&b, k, n));
            let mut expected = vec![0.0; m * n];
            for i in 0..m {
                for l in 0..k {
                    for j in 0..n {
                        expected[i * n + j] += a[i * k + l] * b[l * n + j];
                    }
                }
            }
            for engine in engines() {
                let (mut plain, mut other) = (vec![f32::NAN; m * n], vec![1.0; m * n]);
                product(&engine, &mut plain, View::new(&a, m, k), View::new(&b, k, n), false);
                assert!(plain == expected, "{} {:?} {m} x {k} x {n}", engine.isa, engine.precision);
                product(&engine, &mut other, View::new(&at, k, m).transposed(), View::new(&bt, n, k).transposed(), true);
                other.iter_mut().for_each(|value| *value -= 1.0);
                assert!(other == expected, "turned {} {:?} {m} x {k} x {n}", engine.isa, engine.precision);
            }
        }
    }
}

#[test]
fn what_is_no_number_reaches_its_row_and_column_only() {
    let (m, n, k) = (17, 35, 41);
    for engine in engines() {
        for poison in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let (mut a, mut b) = (vec![1.0; m * k], vec![2.0; k * n]);
            (a[16 * k + 40], b[40 * n + 34]) = (poison, poison);
            let mut out = vec![0.0; m * n];
            product(&engine, &mut out, View::new(&a, m, k), View::new(&b, k, n), false);
            for (index, value) in out.into_iter().enumerate() {
                let hit = index / n == 16 || index % n == 34;
                assert_eq!(value.is_finite(), !hit, "{} {:?}: {value} at {index}", engine.isa, engine.precision);
                assert_eq!(value.is_nan(), hit && poison.is_nan());
            }
        }
    }
}

/// The emulation rounds as the instructions do, so that only the order of the sum differs.
#[test]
fn bfloat16_is_the_same_on_every_instruction_set() {
    let (m, n, k) = (33, 31, 150);
    let value = |index: usize| ((index * 7919) % 1000) as f32 / 300.0 - 1.5;
    let (a, b): (Vec<_>, Vec<_>) = ((0..m * k).map(value).collect(), (0..k * n).map(|index| value(3 * index + 1)).collect());
    let results: Vec<Vec<f32>> = engines()
        .filter(|engine| engine.precision == Precision::Bf16)
        .map(|engine| {
            let mut out = vec![0.0; m * n];
            product(&engine, &mut out, View::new(&a, m, k), View::new(&b, k, n), false);
            out
        })
        .collect();
    for other in &results[1..] {
        for (one, other) in results[0].iter().zip(other) {
            // Each of k products is at most 2.25 and each of k sums is rounded once.
            assert!((one - other).abs() <= f32::EPSILON * 2.25 * (k * k) as f32 / 2.0);
        }
    }
}

#[test]
fn a_block_is_transposed() {
    let block: [[f32; 16]; 16] = std::array::from_fn(|row| std::array::from_fn(|column| (row * 16 + column) as f32));
    for engine in engines() {
        let mut turned = block;
        engine.kernel.transpose(&mut turned);
        assert_eq!(turned, std::array::from_fn(|row| std::array::from_fn(|column| block[column][row])));
    }
}

#[test]
#[should_panic(expected = "shapes of a product")]
fn shapes_must_agree() {
    let engine = engines().next().unwrap();
    product(&engine, &mut [0.0; 4], View::new(&[1.0; 6], 2, 3), View::new(&[1.0; 4], 2, 2), false);
}

#[test]
fn bands_cover_all_rows_at_about_one_height() {
    for rows in 1..100 {
        let bands: Vec<_> = bands(rows, 14).collect();
        assert_eq!(bands.iter().map(|band| band.1).sum::<usize>(), rows);
        assert!(bands.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
        assert!(bands.iter().all(|band| (rows / rows.div_ceil(14)..=14).contains(&band.1)));
    }
}
