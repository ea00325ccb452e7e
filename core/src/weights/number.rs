//! Stored numbers to `f32`.

use safetensors::tensor::Dtype;

/// Whether [`decode`] reads numbers of this type.
pub(super) fn is_readable(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// Appends the values of whole numbers in `bytes` to `out`, exactly; nothing for a type that is not readable.
pub(super) fn decode(dtype: Dtype, bytes: &[u8], out: &mut Vec<f32>) {
    match dtype {
        Dtype::F32 => out.extend(bytes.as_chunks::<4>().0.iter().map(|&four| f32::from_le_bytes(four))),
        Dtype::F16 => out.extend(bytes.as_chunks::<2>().0.iter().map(|&two| half(u16::from_le_bytes(two)))),
        Dtype::BF16 => {
            out.extend(bytes.as_chunks::<2>().0.iter().map(|&two| f32::from_bits(u32::from(u16::from_le_bytes(two)) << 16)));
        }
        _ => {}
    }
}

/// IEEE 754 binary16 to binary32.
fn half(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 0x1f;
    let fraction = u32::from(bits & 0x3ff);
    match exponent {
        // Zero and subnormals: fraction * 2^-24, exact in f32.
        0 => f32::from_bits(sign | (fraction as f32 * f32::from_bits(0x3380_0000)).to_bits()),
        0x1f => f32::from_bits(sign | 0x7f80_0000 | (fraction << 13)),
        _ => f32::from_bits(sign | ((exponent + 112) << 23) | (fraction << 13)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of IEEE 754-2019 table 3.5 and its neighbours.
    #[test]
    fn half_precision_corner_values() {
        let cases = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 0.333_251_95),
            (0x7bff, 65_504.0),
            (0x0400, 2.0_f32.powi(-14)),
            (0x0001, 2.0_f32.powi(-24)),
            (0x03ff, 1023.0 * 2.0_f32.powi(-24)),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half(bits), value, "{bits:#06x}");
        }
        assert_eq!(half(0x8000).to_bits(), (-0.0_f32).to_bits());
        assert!(half(0x7e00).is_nan());
    }
}
