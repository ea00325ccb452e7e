//! What the compiler and its assembler say of one source.

use std::collections::BTreeMap;

use crate::table::Resources;

/// What the assembler said of one source.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) kernels: BTreeMap<String, Resources>,
    /// Lines that are no mere information: warnings, and C7509 to C7511, which tell of serialised `wgmma`.
    pub(crate) warnings: Vec<String>,
}

/// Reads NVRTC's log of a compilation with `--ptxas-options=--verbose`.
pub(crate) fn parse(log: &str) -> Result<Report, String> {
    let mut report = Report::default();
    let mut kernel: Option<String> = None;
    for line in log.lines().map(str::trim).filter(|line| !line.is_empty()) {
        // The assembler's lines begin with `ptxas info`, their continuations with `ptxas` and a dot; all others are the
        // compiler's, which has nothing to say of a source without faults.
        let is_info =
            line.starts_with("ptxas info") || line.strip_prefix("ptxas").is_some_and(|rest| rest.trim().starts_with('.'));
        if !is_info || line.contains("Performance Loss") {
            report.warnings.push(line.to_owned());
            continue;
        }
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            kernel = rest.split('\'').next().map(str::to_owned);
            report.kernels.insert(kernel.clone().unwrap_or_default(), Resources::default());
            continue;
        }
        let resources = kernel.as_ref().and_then(|kernel| report.kernels.get_mut(kernel));
        if let Some((_, used)) = line.split_once(": Used ") {
            let resources = resources.ok_or_else(|| format!("`{line}` belongs to no kernel"))?;
            resources.registers = number_before(used, " registers").ok_or_else(|| format!("no registers in `{line}`"))?;
            resources.shared = number_before(used, " bytes smem").unwrap_or(0);
        } else if line.contains("bytes stack frame") {
            // Functions that are not kernels, if any are left, have lines of their own before any kernel.
            let Some(resources) = resources else { continue };
            resources.stack = number_before(line, " bytes stack frame").unwrap_or(0);
            resources.spill_stores = number_before(line, " bytes spill stores").unwrap_or(0);
            resources.spill_loads = number_before(line, " bytes spill loads").unwrap_or(0);
        }
    }
    Ok(report)
}

/// The number that stands before `what`.
fn number_before(text: &str, what: &str) -> Option<u32> {
    let before = &text[..text.find(what)?];
    before.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_assembler_writes_is_understood() {
        let log = "wide.cu(7): warning #177-D: variable \"x\" was declared but never referenced

ptxas info    : 0 bytes gmem, 24 bytes cmem[4]
ptxas info    : Compiling entry function 'add_f32' for 'sm_80'
ptxas info    : Function properties for add_f32
ptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 12 registers, used 0 barriers, 376 bytes cmem[0]
ptxas info    : Compile time = 3.140 ms
ptxas info    : Compiling entry function 'tile' for 'sm_80'
ptxas warning : Value of threads per SM for entry tile is out of range
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient registers
ptxas info    : Function properties for tile
ptxas         .     40 bytes stack frame, 36 bytes spill stores, 72 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 40 bytes cumulative stack size, 16400 bytes smem
";
        let report = parse(log).unwrap();
        let add = Resources { registers: 12, ..Resources::default() };
        let tile = Resources { registers: 255, shared: 16400, stack: 40, spill_stores: 36, spill_loads: 72 };
        assert_eq!(report.kernels, BTreeMap::from([("add_f32".into(), add), ("tile".into(), tile)]));
        let warnings: Vec<&str> = report.warnings.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        assert_eq!(warnings, ["warning", "warning", "info"], "{:?}", report.warnings);
    }
}
