//! Compiles the kernels' sources as C++17 for the host, each file by itself.

use std::path::Path;

fn main() {
    let cu = Path::new("../cu");
    println!("cargo:rerun-if-changed=../cu");
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-changed=src/emulator.cpp");
    let mut sources: Vec<_> = std::fs::read_dir(cu)
        .expect("kernels/cu can be read")
        .map(|entry| entry.expect("kernels/cu can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "cu"))
        .collect();
    sources.sort();
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(1)
        .debug(false)
        .define("STEPSYNTH_EMULATOR", None)
        .include(cu)
        .include("include")
        .flag("-xc++")
        .flag("-Wno-unused-function")
        // Registrations of kernels are reached by nothing; the linker must keep them.
        .link_lib_modifier("+whole-archive")
        .files(sources)
        .file("src/emulator.cpp")
        .compile("stepsynth_emulated_kernels");
}
