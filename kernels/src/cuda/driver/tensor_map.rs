//! The copy engine's description of a matrix.

#![expect(unsafe_code, reason = "the driver's C interface")]

use cudarc::driver::result::DriverError;
use cudarc::driver::sys;

/// Rows and columns of a box.
const BOX: u32 = 64;

/// The map of a row-major matrix of bf16 for boxes of 64 x 64 with the 128-byte swizzle; outside are zeros. Does not touch the
/// device.
pub(super) fn encode(address: u64, rows: usize, columns: usize) -> Result<[u64; 16], DriverError> {
    // The innermost dimension comes first; strides are those of the others, in bytes.
    let (sizes, strides) = ([columns as u64, rows as u64], [2 * columns as u64]);
    let (sides, steps) = ([BOX; 2], [1; 2]);
    let mut map = sys::CUtensorMap { opaque: [0; 16] };
    // SAFETY: the map is aligned to 64 bytes by its type, the arrays have the lengths that a rank of 2 asks for, and the
    // address is written down without being followed.
    let status = unsafe {
        sys::cuTensorMapEncodeTiled(
            &raw mut map,
            sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            2,
            address as *mut _,
            sizes.as_ptr(),
            strides.as_ptr(),
            sides.as_ptr(),
            steps.as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    status.result()?;
    Ok(map.opaque)
}
