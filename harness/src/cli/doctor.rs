//! `stepsynth doctor`.

use std::fmt::Write as _;

use anyhow::Result;
use stepsynth_kernels::cpu::Isa;

use super::doctor_gpu;
use crate::experiment::manifest::COMMIT;
use crate::student::{self, Device};

pub(super) fn doctor() -> Result<()> {
    let mut out = String::new();
    let commit = if COMMIT.is_empty() { "unknown" } else { COMMIT };
    let _ = writeln!(out, "stepsynth {} (commit {commit})", env!("CARGO_PKG_VERSION"));
    let _ = writeln!(out, "system: {} {}", std::env::consts::OS, std::env::consts::ARCH);
    let _ = writeln!(out, "cpu features: {}", cpu_features());
    let threads = std::thread::available_parallelism().map_or_else(|_| "unknown".to_owned(), |threads| threads.to_string());
    let _ = writeln!(out, "threads: {threads}");
    let _ = writeln!(out, "memory: {}", memory());
    let _ = writeln!(out, "cpu path: {}", cpu_path()?);
    let _ = writeln!(out, "device auto: {}", Device::Auto.name()?);
    let _ = writeln!(out, "device reference: {}", Device::Reference.name()?);
    out += &doctor_gpu::describe();
    let _ = writeln!(out, "teachers: simulated, replay");
    let _ = writeln!(out, "tasks: {}", stepsynth_datasets::task::built_in().join(", "));
    super::print(&out)
}

/// The instructions in use, and the others that could be.
fn cpu_path() -> Result<String> {
    let used = student::isa()?;
    let others: Vec<&str> = Isa::available().filter(|&isa| isa != used).map(Isa::name).collect();
    Ok(match others.as_slice() {
        [] => used.name().to_owned(),
        _ => format!("{} (STEPSYNTH_CPU can ask for {})", used.name(), others.join(", ")),
    })
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> String {
    let found: Vec<&str> = [
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ]
    .into_iter()
    .filter_map(|(name, there)| there.then_some(name))
    .collect();
    if found.is_empty() { "none of avx2, fma, avx512f, avx512bf16".to_owned() } else { found.join(", ") }
}

#[cfg(not(target_arch = "x86_64"))]
fn cpu_features() -> String {
    "not looked for on this architecture".to_owned()
}

/// Total and available memory, where the system tells.
fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let gigabytes = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field))?;
        let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib * 1024.0 / 1e9)
    };
    match (gigabytes("MemTotal:"), gigabytes("MemAvailable:")) {
        (Some(total), Some(available)) => format!("{total:.1} GB, {available:.1} GB available"),
        _ => "unknown".to_owned(),
    }
}
