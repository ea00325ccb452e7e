//! From a source of `kernels/cu` to machine code, through the cache on disk.

use super::cache::{self, Cache};
use super::nvrtc::{Compiled, Nvrtc};
use crate::cuda::source::{HEADERS, SOURCES, Source};

/// NVRTC's name for the GPU's architecture. `sm_90a` is that of Hopper with the instructions that only Hopper has.
pub fn architecture((major, minor): (u32, u32)) -> String {
    let only_there = if (major, minor) == (9, 0) { "a" } else { "" };
    format!("sm_{major}{minor}{only_there}")
}

/// The compiler's options. Line numbers change no code; compute-sanitizer and profilers show them.
pub fn options(architecture: &str) -> Vec<String> {
    vec![format!("--gpu-architecture={architecture}"), "--std=c++17".into(), "--generate-line-info".into()]
}

/// Compiles a source with what it includes; an error is the compiler's log, which names file and line.
fn compile(nvrtc: &Nvrtc, source: &Source, architecture: &str) -> Result<Compiled, String> {
    nvrtc.compile(source, HEADERS, &options(architecture)).map_err(|log| {
        let (major, minor) = nvrtc.version();
        format!("kernels/cu/{} does not compile for {architecture} (NVRTC {major}.{minor}): {log}", source.name)
    })
}

/// Compiles for one GPU.
pub(super) struct Compiler {
    pub(super) nvrtc: Nvrtc,
    pub(super) architecture: String,
    pub(super) cache: Option<Cache>,
}

impl Compiler {
    /// Machine code of the source with this stem.
    pub(super) fn image(&self, stem: &str) -> Result<Vec<u8>, String> {
        let source = find(SOURCES, stem).ok_or_else(|| format!("there is no source kernels/cu/{stem}.cu"))?;
        let key = key(source, HEADERS, &self.architecture, self.nvrtc.version());
        if let Some(image) = self.cache.as_ref().and_then(|cache| cache.load(&key)) {
            return Ok(image);
        }
        let image = compile(&self.nvrtc, source, &self.architecture)?.cubin;
        // A folder that cannot be written costs time at the next start, no more.
        let _ = self.cache.as_ref().map(|cache| cache.store(&key, &image));
        Ok(image)
    }
}

fn find<'a>(sources: &'a [Source], stem: &str) -> Option<&'a Source> {
    sources.iter().find(|source| source.stem() == stem)
}

/// The cache's key: everything that decides the machine code.
fn key(source: &Source, headers: &[Source], architecture: &str, version: (i32, i32)) -> String {
    let version = format!("NVRTC {}.{}", version.0, version.1);
    let options = options(architecture);
    let mut parts = vec![version.as_str(), architecture, source.name, source.text];
    parts.extend(headers.iter().flat_map(|header| [header.name, header.text]));
    parts.extend(options.iter().map(String::as_str));
    cache::key(&format!("{}-{architecture}", source.stem()), &parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: Source = Source { name: "scale.cu", text: "x" };
    const HEADER: Source = Source { name: "common.cuh", text: "y" };

    #[test]
    fn hopper_alone_has_its_own_instructions() {
        assert_eq!([(7, 5), (8, 0), (9, 0), (12, 0)].map(architecture), ["sm_75", "sm_80", "sm_90a", "sm_120"]);
    }

    #[test]
    fn the_key_depends_on_all_that_decides_the_code() {
        let plain = key(&SOURCE, &[HEADER], "sm_80", (12, 9));
        assert!(plain.starts_with("scale-sm_80-"), "{plain}");
        assert_eq!(plain, key(&SOURCE, &[HEADER], "sm_80", (12, 9)));
        let others = [
            key(&Source { text: "z", ..SOURCE }, &[HEADER], "sm_80", (12, 9)),
            key(&SOURCE, &[Source { text: "z", ..HEADER }], "sm_80", (12, 9)),
            key(&SOURCE, &[], "sm_80", (12, 9)),
            key(&SOURCE, &[HEADER], "sm_90a", (12, 9)),
            key(&SOURCE, &[HEADER], "sm_80", (13, 0)),
        ];
        assert!(others.iter().all(|other| *other != plain));
    }

    /// With STEPSYNTH_NVRTC set, as in CI, where pip brings the library.
    fn nvrtc() -> Option<Nvrtc> {
        std::env::var_os("STEPSYNTH_NVRTC")?;
        Some(Nvrtc::find(13).unwrap())
    }

    #[test]
    fn a_fault_in_a_source_is_shown_with_file_and_line() {
        let Some(nvrtc) = nvrtc() else { return };
        let broken = Source { name: "broken.cu", text: "#include \"common.cuh\"\n\nKERNEL broken(int count) { cuont = 1; }\n" };
        let error = compile(&nvrtc, &broken, "sm_80").unwrap_err();
        assert!(error.contains("kernels/cu/broken.cu does not compile for sm_80 (NVRTC "), "{error}");
        assert!(error.contains("broken.cu(3): error: identifier \"cuont\" is undefined"), "{error}");
    }

    #[test]
    fn images_come_from_the_cache_and_damaged_ones_are_made_again() {
        let Some(nvrtc) = nvrtc() else { return };
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().as_os_str().to_owned();
        let cache = Cache::of_user(|name| (name == "STEPSYNTH_CACHE").then(|| root.clone())).unwrap();
        let compiler = Compiler { nvrtc, architecture: "sm_80".into(), cache: Some(cache.clone()) };
        let image = compiler.image("elementwise").unwrap();
        assert_eq!(&image[1..4], b"ELF");
        let entry = std::fs::read_dir(cache.folder()).unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&entry).unwrap();

        // What is there is taken as it is ...
        let stem = entry.file_stem().unwrap().to_str().unwrap();
        cache.store(stem, b"another").unwrap();
        assert_eq!(compiler.image("elementwise").unwrap(), b"another");
        // ... unless it is damaged.
        std::fs::write(&entry, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(compiler.image("elementwise").unwrap(), image);
        assert_eq!(std::fs::read(&entry).unwrap(), whole);
        assert_eq!(compiler.image("absent").unwrap_err(), "there is no source kernels/cu/absent.cu");
    }
}
