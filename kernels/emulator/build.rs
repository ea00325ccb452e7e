//! Compiles the kernels' sources as C++17 for the host, each file by itself. Where there is no such compiler, says so and
//! leaves them out: `Emulator::available()` is false then.
//!
//! `STEPSYNTH_EMULATOR_SANITIZE=address` compiles them with AddressSanitizer, for `cargo test -p stepsynth-emulator`.

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
    build.flag("-xc++").flag("-Wno-unused-function").flag("-Wno-unused-parameter").flag_if_supported("-ftls-model=initial-exec");
    build
}

/// Whether a file that needs C++17 and its library compiles.
fn there_is_a_compiler() -> bool {
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let probe = folder.join("probe.cpp");
    let text = "#include <map>\n#include <mutex>\ntemplate <class T> int f(T) { if constexpr (sizeof(T) > 1) return 1; return 0; }\n\
                static_assert(__cplusplus >= 201703L);\nint probe() { return f(std::map<int, int>{}.try_emplace(1, 2).second); }\n";
    std::fs::write(&probe, text).expect("OUT_DIR can be written");
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").cargo_metadata(false).cargo_warnings(false).warnings(false);
    build.file(&probe).try_compile_intermediates().is_ok()
}

/// Compiles with the sanitizer that the environment names, and links this package's targets with its runtime.
fn sanitize(build: &mut cc::Build) {
    println!("cargo:rerun-if-env-changed=STEPSYNTH_EMULATOR_SANITIZE");
    let Some(name) = std::env::var("STEPSYNTH_EMULATOR_SANITIZE").ok().filter(|name| !name.is_empty()) else {
        return;
    };
    assert!(name == "address", "STEPSYNTH_EMULATOR_SANITIZE can be `address`, not `{name}`");
    build.flag("-fsanitize=address").flag("-fno-omit-frame-pointer");
    // The linker is told to add no library by itself. The static runtime comes before libc, as it must.
    let mut query = build.get_compiler().to_command();
    let answer = query.arg("-print-file-name=libasan.a").output().expect("the compiler runs");
    let library = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    assert!(Path::new(&library).is_absolute(), "AddressSanitizer needs GCC and its libasan.a");
    for argument in ["-Wl,--whole-archive", &library, "-Wl,--no-whole-archive", "-Wl,--export-dynamic", "-lm"] {
        println!("cargo:rustc-link-arg={argument}");
    }
}

fn main() {
    println!("cargo:rustc-check-cfg=cfg(emulated)");
    println!("cargo:rerun-if-changed=include");
    println!("cargo:rerun-if-env-changed=CXX");
    if !there_is_a_compiler() {
        // This file never exists, so the next build looks again.
        println!("cargo:rerun-if-changed=no-compiler");
        println!("cargo:warning=there is no C++17 compiler: the CUDA kernels are not emulated, and their tests are skipped");
        return;
    }
    println!("cargo:rustc-cfg=emulated");
    let mut build = compiler();
    sanitize(&mut build);
    let mut kernels = build.clone();
    // Registrations of kernels are reached by nothing; the linker must keep them.
    kernels.link_lib_modifier("+whole-archive").files(files("../cu", "cu")).files(files("src", "cpp"));
    kernels.compile("stepsynth_emulated_kernels");
    // Kernels for the emulator's own tests: right ones and faulty ones. They are linked into this package's tests alone.
    let objects = build.files(files("tests/cu", "cu")).compile_intermediates();
    for object in objects {
        println!("cargo:rustc-link-arg-tests={}", Path::new(&object).display());
    }
}
