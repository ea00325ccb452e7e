//! Compiles the kernels' sources as C++17 for the host, each file by itself.

use std::path::{Path, PathBuf};

/// Files of a folder with this ending.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    println!("cargo:rerun-if-changed={folder}");
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let paths = entries.map(|entry| entry.unwrap_or_else(|error| panic!("{folder}: {error}")).path());
    let mut found: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect();
    found.sort();
    found
}

fn compiler() -> cc::Build {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).debug(false);
    build.define("STEPSYNTH_EMULATOR", None).include("../cu").include("include");
    build.flag("-xc++").flag("-Wno-unused-function").flag_if_supported("-ftls-model=initial-exec");
    build
}

fn main() {
    println!("cargo:rerun-if-changed=include");
    compiler()
        // Registrations of kernels are reached by nothing; the linker must keep them.
        .link_lib_modifier("+whole-archive")
        .files(files("../cu", "cu"))
        .files(files("src", "cpp"))
        .compile("stepsynth_emulated_kernels");
    // Kernels for the emulator's own tests: right ones and faulty ones. They are linked into this package's tests alone.
    let objects = compiler().files(files("tests/cu", "cu")).compile_intermediates();
    for object in objects {
        println!("cargo:rustc-link-arg-tests={}", Path::new(&object).display());
    }
}
