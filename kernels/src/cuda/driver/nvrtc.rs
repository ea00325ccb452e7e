//! NVIDIA's run-time compiler, NVRTC. Its library is opened by path, so that any version of it will do and users can say which;
//! bindings that are made for one version look for that version's file names alone.

#![expect(unsafe_code, reason = "a C library is loaded and called here")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use libloading::Library;

use super::search::{self, Places};
use crate::cuda::source::Source;
use crate::cuda::unavailable::Unavailable;

type Program = *mut c_void;

/// The functions in use; all are in NVRTC since CUDA 11.2.
struct Functions {
    version: unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    count_architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    architectures: unsafe extern "C" fn(*mut c_int) -> c_int,
    error: unsafe extern "C" fn(c_int) -> *const c_char,
    create: unsafe extern "C" fn(
        *mut Program,
        *const c_char,
        *const c_char,
        c_int,
        *const *const c_char,
        *const *const c_char,
    ) -> c_int,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    cubin_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    cubin: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
}

/// What compiling gave.
#[derive(Debug)]
pub struct Compiled {
    /// Machine code for the architecture.
    pub cubin: Vec<u8>,
    /// Warnings, with file and line, and what options ask for.
    pub log: String,
}

/// An opened NVRTC.
pub struct Nvrtc {
    functions: Functions,
    path: PathBuf,
    version: (i32, i32),
    architectures: Vec<i32>,
    _library: Library,
}

impl Nvrtc {
    /// The first usable library of the places that the environment names (STEPSYNTH_NVRTC, CUDA_HOME, CUDA_PATH,
    /// LD_LIBRARY_PATH, /usr/local/cuda*). `driver_major` is the driver's CUDA version: a library that is newer is a last resort.
    ///
    /// # Errors
    /// If there is none, with how to get it.
    pub fn find(driver_major: i32) -> Result<Self, Unavailable> {
        Self::open_first(search::places(|name| std::env::var_os(name), driver_major))
    }

    pub(super) fn open_first(places: Places) -> Result<Self, Unavailable> {
        let mut fault = None;
        for candidate in &places.candidates {
            match Self::open(candidate) {
                Ok(nvrtc) => return Ok(nvrtc),
                // A file that is there is worth naming; a name that the system's loader does not know is not.
                Err(error) if candidate.is_file() => fault = fault.or(Some(error)),
                Err(_) => {}
            }
        }
        Err(fault.unwrap_or(Unavailable::NoNvrtc { searched: places.searched }))
    }

    fn open(path: &Path) -> Result<Self, Unavailable> {
        let bad = |reason: String| Unavailable::BadNvrtc { path: path.to_path_buf(), reason };
        // SAFETY: the file is one that the user or the system names as NVRTC; loading it runs its initialisers, as linking with
        // it would.
        let library = unsafe { Library::new(path) }.map_err(|error| bad(one_line(&error.to_string())))?;
        let functions = functions(&library).map_err(bad)?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: both pointers are to live integers.
        let status = unsafe { (functions.version)(&raw mut major, &raw mut minor) };
        if status != 0 {
            return Err(bad(format!("nvrtcVersion reports error {status}")));
        }
        let mut count = 0;
        // SAFETY: the pointer is to a live integer.
        unsafe { (functions.count_architectures)(&raw mut count) };
        let mut architectures = vec![0; usize::try_from(count).unwrap_or(0)];
        // SAFETY: the vector has the length that the library just asked for.
        unsafe { (functions.architectures)(architectures.as_mut_ptr()) };
        Ok(Self { functions, path: path.to_path_buf(), version: (major, minor), architectures, _library: library })
    }

    /// The library's file, or its name where the system's loader found it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, for example `(12, 9)`.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// Whether it can compile for a GPU of this compute capability.
    pub fn knows(&self, (major, minor): (u32, u32)) -> bool {
        self.architectures.iter().any(|&number| i64::from(number) == i64::from(major) * 10 + i64::from(minor))
    }

    /// Compiles a source; `options` are those of the library's documentation, and name an `sm_` architecture.
    ///
    /// # Errors
    /// The compiler's log, which names file and line, or else the library's error.
    pub fn compile(&self, source: &Source, headers: &[Source], options: &[String]) -> Result<Compiled, String> {
        let c_string = |text: &str| CString::new(text).map_err(|_| "a source or option holds a zero byte".to_owned());
        let c_strings = |texts: &mut dyn Iterator<Item = &str>| texts.map(c_string).collect::<Result<Vec<CString>, String>>();
        let pointers = |strings: &[CString]| strings.iter().map(|string| string.as_ptr()).collect::<Vec<_>>();
        let (name, text) = (c_string(source.name)?, c_string(source.text)?);
        let header_texts = c_strings(&mut headers.iter().map(|header| header.text))?;
        let header_names = c_strings(&mut headers.iter().map(|header| header.name))?;
        let options = c_strings(&mut options.iter().map(String::as_str))?;

        let mut program = OwnedProgram { handle: std::ptr::null_mut(), functions: &self.functions };
        // SAFETY: all strings end in zero and live to the end of this function; the counts are those of the lists.
        let status = unsafe {
            (self.functions.create)(
                &raw mut program.handle,
                text.as_ptr(),
                name.as_ptr(),
                headers.len() as c_int,
                pointers(&header_texts).as_ptr(),
                pointers(&header_names).as_ptr(),
            )
        };
        self.check("nvrtcCreateProgram", status)?;
        // SAFETY: the program was made above; the count is that of the list.
        let status = unsafe { (self.functions.compile)(program.handle, options.len() as c_int, pointers(&options).as_ptr()) };
        let log = program.text(self.functions.log_size, self.functions.log);
        let log = String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n']).to_owned();
        if status != 0 {
            return Err(if log.is_empty() { self.error("nvrtcCompileProgram", status) } else { log });
        }
        let cubin = program.text(self.functions.cubin_size, self.functions.cubin);
        if cubin.is_empty() {
            return Err("nvrtcGetCUBIN gave nothing".into());
        }
        Ok(Compiled { cubin, log })
    }

    fn check(&self, call: &str, status: c_int) -> Result<(), String> {
        if status == 0 { Ok(()) } else { Err(self.error(call, status)) }
    }

    fn error(&self, call: &str, status: c_int) -> String {
        // SAFETY: the function takes any number and returns a string that lives as long as the library.
        let text = unsafe { CStr::from_ptr((self.functions.error)(status)) };
        format!("{call}: {}", text.to_string_lossy())
    }
}

/// A program that is given back to the library.
struct OwnedProgram<'a> {
    handle: Program,
    functions: &'a Functions,
}

impl OwnedProgram<'_> {
    /// What a pair of functions, one for the size and one for the bytes, says of this program; nothing if they fail.
    fn text(
        &self,
        size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
        bytes: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ) -> Vec<u8> {
        let mut length = 0;
        // SAFETY: the program is live, the pointer is to a live integer.
        if unsafe { size(self.handle, &raw mut length) } != 0 {
            return Vec::new();
        }
        let mut buffer = vec![0_u8; length];
        // SAFETY: the buffer has the length that the library asked for.
        let status = unsafe { bytes(self.handle, buffer.as_mut_ptr().cast()) };
        if status == 0 { buffer } else { Vec::new() }
    }
}

impl Drop for OwnedProgram<'_> {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the program is live and not used after.
            unsafe { (self.functions.destroy)(&raw mut self.handle) };
        }
    }
}

fn functions(library: &Library) -> Result<Functions, String> {
    macro_rules! function {
        ($name:literal) => {
            // SAFETY: the type is that of the function in NVRTC's documentation, the same in all versions since 11.2; the
            // library is kept as long as the pointer.
            *unsafe { library.get($name) }.map_err(|error| one_line(&error.to_string()))?
        };
    }
    Ok(Functions {
        version: function!("nvrtcVersion"),
        count_architectures: function!("nvrtcGetNumSupportedArchs"),
        architectures: function!("nvrtcGetSupportedArchs"),
        error: function!("nvrtcGetErrorString"),
        create: function!("nvrtcCreateProgram"),
        compile: function!("nvrtcCompileProgram"),
        destroy: function!("nvrtcDestroyProgram"),
        log_size: function!("nvrtcGetProgramLogSize"),
        log: function!("nvrtcGetProgramLog"),
        cubin_size: function!("nvrtcGetCUBINSize"),
        cubin: function!("nvrtcGetCUBIN"),
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
