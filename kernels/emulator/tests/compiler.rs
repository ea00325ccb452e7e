//! Says so when the other tests of this package are left out.

use stepsynth_emulator::Emulator;
use stepsynth_kernels::cuda::Device;

#[test]
#[cfg_attr(not(emulated), ignore = "the build found no C++17 compiler: no kernel was emulated")]
fn the_kernels_are_emulated() {
    assert!(Emulator::available());
    assert!(Emulator::new((8, 0)).allocate(1).is_ok());
}

#[test]
#[cfg(not(emulated))]
fn without_a_compiler_the_error_says_so() {
    assert!(!Emulator::available());
    let error = Emulator::new((8, 0)).allocate(1).unwrap_err().to_string();
    assert!(error.contains("C++17 compiler"), "{error}");
}
