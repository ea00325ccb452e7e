//! Where the library NVRTC may be.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Folders below a toolkit, an unpacked wheel or a folder named by the user.
const BELOW: [&str; 6] = ["", "lib64", "lib", "targets/x86_64-linux/lib", "nvidia/cuda_nvrtc/lib", "nvidia/cu13/lib"];

/// What the system's loader is asked for when no folder has the library.
const BY_NAME: [&str; 4] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "nvrtc64_120_0.dll"];

/// Places to look, best first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Places {
    /// Files, and names for the system's loader.
    pub(super) candidates: Vec<PathBuf>,
    /// The places in words, for a message.
    pub(super) searched: String,
}

/// The places that the environment names. Of the libraries in one folder the newest comes first that is no newer than the
/// driver, `driver_major`: what a newer one compiles the driver may not load.
pub(super) fn places(variable: impl Fn(&str) -> Option<OsString>, driver_major: i32) -> Places {
    places_below(Path::new("/usr/local"), variable, driver_major)
}

fn places_below(local: &Path, variable: impl Fn(&str) -> Option<OsString>, driver_major: i32) -> Places {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if let Some(named) = set("STEPSYNTH_NVRTC") {
        let named = PathBuf::from(named);
        let searched = format!("STEPSYNTH_NVRTC={}", named.display());
        let candidates = if named.is_dir() { libraries_below(&named, driver_major) } else { vec![named] };
        return Places { candidates, searched };
    }
    let mut candidates = Vec::new();
    let mut searched = Vec::new();
    for name in ["CUDA_HOME", "CUDA_PATH"] {
        if let Some(toolkit) = set(name) {
            candidates.extend(libraries_below(Path::new(&toolkit), driver_major));
            searched.push(format!("{name}={}", Path::new(&toolkit).display()));
        }
    }
    if let Some(list) = set("LD_LIBRARY_PATH") {
        for folder in std::env::split_paths(&list).filter(|folder| !folder.as_os_str().is_empty()) {
            candidates.extend(libraries_in(&folder, driver_major));
        }
    }
    searched.push("LD_LIBRARY_PATH".into());
    for toolkit in toolkits(local) {
        candidates.extend(libraries_below(&toolkit, driver_major));
    }
    searched.push(format!("{}/cuda*", local.display()));
    candidates.extend(BY_NAME.map(PathBuf::from));
    searched.push("the system's libraries".into());
    Places { candidates, searched: searched.join(", ") }
}

/// `cuda`, then `cuda-12.9`, `cuda-12.8`, ..., newest first.
fn toolkits(local: &Path) -> Vec<PathBuf> {
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries(local)
        .filter_map(|(name, path)| {
            let version = name.strip_prefix("cuda")?.trim_start_matches('-');
            let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
            // The plain name is the installation's own choice.
            if version.is_empty() { Some((vec![u32::MAX], path)) } else { Some((numbers?, path)) }
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn libraries_below(folder: &Path, driver_major: i32) -> Vec<PathBuf> {
    BELOW.iter().flat_map(|below| libraries_in(&folder.join(below), driver_major)).collect()
}

/// `libnvrtc.so.N` and `libnvrtc.so` in a folder.
fn libraries_in(folder: &Path, driver_major: i32) -> Vec<PathBuf> {
    let mut found: Vec<(bool, i32, PathBuf)> = entries(folder)
        .filter_map(|(name, path)| {
            let version = name.strip_prefix("libnvrtc.so")?;
            // The plain name is a link to one of the others; it serves where it is alone.
            let major: i32 = if version.is_empty() { 0 } else { version.strip_prefix('.')?.parse().ok()? };
            Some((major > driver_major, -major, path))
        })
        .collect();
    found.sort();
    found.into_iter().map(|(_, _, path)| path).collect()
}

/// Names and paths in a folder, none if it cannot be read.
fn entries(folder: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }

    fn look(local: &Path, variables: &[(&str, PathBuf)], driver_major: i32) -> Places {
        places_below(
            local,
            |name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone().into()),
            driver_major,
        )
    }

    #[test]
    fn a_library_that_is_named_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("my-nvrtc.so");
        let places = look(folder.path(), &[("STEPSYNTH_NVRTC", file.clone())], 12);
        assert_eq!(places.candidates, [file]);
        assert!(places.searched.starts_with("STEPSYNTH_NVRTC="));
    }

    #[test]
    fn a_folder_that_is_named_may_be_an_unpacked_wheel() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("nvidia/cuda_nvrtc/lib/libnvrtc.so.12");
        touch(&library);
        touch(&folder.path().join("nvidia/cuda_nvrtc/lib/libnvrtc-builtins.so.12.9"));
        touch(&folder.path().join("nvidia/cuda_nvrtc/lib/libnvrtc.alt.so.12"));
        assert_eq!(look(folder.path(), &[("STEPSYNTH_NVRTC", folder.path().into())], 12).candidates, [library]);
    }

    #[test]
    fn toolkits_are_searched_in_the_order_that_the_documentation_gives() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| {
            let path = folder.path().join(path);
            touch(&path);
            path
        };
        let old = at("local/cuda-12.2/lib64/libnvrtc.so.12");
        let new = at("local/cuda-12.10/lib64/libnvrtc.so.12");
        at("local/cudnn/lib64/libnvrtc.so.12");
        let home = at("home/lib/libnvrtc.so.12");
        let listed = at("listed/libnvrtc.so.12");
        let list = std::env::join_paths([folder.path().join("absent"), folder.path().join("listed")]).unwrap();
        let variables = [("CUDA_HOME", folder.path().join("home")), ("LD_LIBRARY_PATH", list.into())];
        let places = look(&folder.path().join("local"), &variables, 12);
        assert_eq!(places.candidates[..4], [home, listed, new, old]);
        assert_eq!(places.candidates[4..], BY_NAME.map(PathBuf::from));
        assert!(places.searched.contains("CUDA_HOME=") && places.searched.contains("local/cuda*"), "{}", places.searched);
    }

    #[test]
    fn a_library_newer_than_the_driver_comes_last() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libnvrtc.so", "libnvrtc.so.11", "libnvrtc.so.12", "libnvrtc.so.13"] {
            touch(&folder.path().join(name));
        }
        let names = |driver| -> Vec<String> {
            let found = libraries_in(folder.path(), driver).into_iter();
            found.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
        };
        assert_eq!(names(12), ["libnvrtc.so.12", "libnvrtc.so.11", "libnvrtc.so", "libnvrtc.so.13"]);
        assert_eq!(names(13), ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11", "libnvrtc.so"]);
    }
}
