//! NVIDIA's run-time compiler, loaded if it is there. Its ten functions are called directly: the library may lie
//! anywhere and be of any version from 11 on, and that it is missing is an answer, not a panic.
//!
//! Images are machine code for the device at hand (cubin), which any driver of the same major version loads; PTX would
//! need a driver as new as the compiler. Only for a device newer than the compiler PTX is made.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use libloading::Library;

use super::program::Program;
use super::{DeviceError, Missing};

/// Names under which a system has the library, the newest first.
const NAMES: [&str; 5] = ["libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "libnvrtc.so.11.2", "nvrtc64_120_0.dll"];
/// Where toolkits install it.
const FOLDERS: [&str; 2] = ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"];

type Handle = *mut c_void;

/// The compiler.
#[derive(Debug)]
pub struct Nvrtc {
    library: Library,
    /// What the library opens by name when it compiles. Held open, so that it finds it wherever it lies.
    _builtins: Vec<Library>,
    version: (i32, i32),
}

impl Nvrtc {
    /// Opens the library: the file `at`, or the one in the folder `at`, else the system's.
    ///
    /// # Errors
    /// [`Missing::Nvrtc`] if none can be opened or it is no NVRTC.
    pub fn open(at: Option<&Path>) -> Result<Self, Missing> {
        let candidates = candidates(at);
        // SAFETY: the files are NVRTC by their names; its initialisers have no conditions.
        let open = |path: &PathBuf| unsafe { Library::new(path) }.ok().map(|library| (library, builtins(path)));
        let library = candidates.iter().find_map(open);
        let tried = || match at {
            Some(path) => path.display().to_string(),
            None => NAMES[1].to_owned(),
        };
        let (library, _builtins) = library.ok_or_else(|| Missing::Nvrtc { tried: tried() })?;
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the type is the documented one, and the pointers are to two integers.
        let version = unsafe {
            library
                .get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(b"nvrtcVersion")
                .map(|call| call(&mut major, &mut minor))
        };
        match version {
            Ok(0) => Ok(Self { library, _builtins, version: (major, minor) }),
            _ => Err(Missing::Nvrtc { tried: tried() }),
        }
    }

    /// Major and minor version.
    pub fn version(&self) -> (i32, i32) {
        self.version
    }

    /// All options for a program on a device of that compute capability.
    pub fn options(&self, program: &Program, capability: (u32, u32)) -> Vec<String> {
        let mut options = vec![
            format!("--gpu-architecture={}", self.architecture(capability)),
            "--std=c++17".to_owned(),
            // What is fused says so in the source; the CPU's twin fuses the same.
            "--fmad=false".to_owned(),
        ];
        options.extend(program.options());
        options
    }

    /// Compiles a program.
    ///
    /// # Errors
    /// [`DeviceError::Compile`] with the compiler's log.
    pub fn compile(&self, program: &Program, options: &[String]) -> Result<Vec<u8>, DeviceError> {
        let failed = |log: String| DeviceError::Compile { kernel: program.source.path, log };
        let text = CString::new(program.text()).map_err(|_| failed("the source has a zero byte".to_owned()))?;
        let name = CString::new(program.source.path).map_err(|_| failed("the name has a zero byte".to_owned()))?;
        let options: Vec<CString> = options.iter().filter_map(|option| CString::new(option.as_str()).ok()).collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let machine_code = options.iter().any(|option| option.to_bytes().starts_with(b"--gpu-architecture=sm_"));

        let mut handle: Handle = null_mut();
        // SAFETY: the types are the documented ones; strings end in zero and outlive the calls; buffers have the sizes
        // that the library asked for; the handle is destroyed once, after its last use.
        unsafe {
            type Create = unsafe extern "C" fn(
                *mut Handle,
                *const c_char,
                *const c_char,
                c_int,
                *const *const c_char,
                *const *const c_char,
            ) -> c_int;
            let create = self.call::<Create>(b"nvrtcCreateProgram").map_err(failed)?;
            let code = create(&mut handle, text.as_ptr(), name.as_ptr(), 0, null_mut(), null_mut());
            if code != 0 {
                return Err(failed(self.describe(code)));
            }
            let result = self.compile_handle(handle, &pointers, machine_code);
            type Destroy = unsafe extern "C" fn(*mut Handle) -> c_int;
            if let Ok(destroy) = self.call::<Destroy>(b"nvrtcDestroyProgram") {
                destroy(&mut handle);
            }
            result.map_err(failed)
        }
    }

    /// # Safety
    /// `handle` is a program that was created, `options` are strings that end in zero.
    unsafe fn compile_handle(
        &self,
        handle: Handle,
        options: &[*const c_char],
        machine_code: bool,
    ) -> Result<Vec<u8>, String> {
        type Compile = unsafe extern "C" fn(Handle, c_int, *const *const c_char) -> c_int;
        // SAFETY: as promised by the caller.
        unsafe {
            let code = self.call::<Compile>(b"nvrtcCompileProgram")?(handle, options.len() as c_int, options.as_ptr());
            if code != 0 {
                let log = self.bytes(handle, b"nvrtcGetProgramLogSize", b"nvrtcGetProgramLog").unwrap_or_default();
                let log = String::from_utf8_lossy(&log).trim_end_matches(['\0', '\n']).to_owned();
                return Err(if log.is_empty() { self.describe(code) } else { log });
            }
            if machine_code {
                self.bytes(handle, b"nvrtcGetCUBINSize", b"nvrtcGetCUBIN")
            } else {
                self.bytes(handle, b"nvrtcGetPTXSize", b"nvrtcGetPTX")
            }
        }
    }

    /// Asks for a size, then for that many bytes.
    ///
    /// # Safety
    /// `handle` is a program, and the functions are such a pair.
    unsafe fn bytes(&self, handle: Handle, size: &[u8], get: &[u8]) -> Result<Vec<u8>, String> {
        type Size = unsafe extern "C" fn(Handle, *mut usize) -> c_int;
        type Get = unsafe extern "C" fn(Handle, *mut u8) -> c_int;
        let mut len = 0;
        // SAFETY: as promised by the caller; the buffer has the length that was asked for.
        unsafe {
            let code = self.call::<Size>(size)?(handle, &mut len);
            let mut bytes = vec![0; len];
            let code = if code == 0 { self.call::<Get>(get)?(handle, bytes.as_mut_ptr()) } else { code };
            if code == 0 { Ok(bytes) } else { Err(self.describe(code)) }
        }
    }

    /// The architecture to compile for: the device's, or the newest that the compiler knows.
    fn architecture(&self, capability: (u32, u32)) -> String {
        let wanted = (capability.0 * 10 + capability.1) as c_int;
        let known = self.architectures();
        if known.is_empty() || known.contains(&wanted) {
            return format!("sm_{wanted}");
        }
        let newest = known.into_iter().filter(|known| *known < wanted).max();
        newest.map_or_else(|| format!("sm_{wanted}"), |newest| format!("compute_{newest}"))
    }

    fn architectures(&self) -> Vec<c_int> {
        type Count = unsafe extern "C" fn(*mut c_int) -> c_int;
        type List = unsafe extern "C" fn(*mut c_int) -> c_int;
        let mut count = 0;
        // SAFETY: the types are the documented ones, and the list has room for as many as were counted.
        unsafe {
            let (Ok(counts), Ok(lists)) =
                (self.call::<Count>(b"nvrtcGetNumSupportedArchs"), self.call::<List>(b"nvrtcGetSupportedArchs"))
            else {
                return Vec::new();
            };
            if counts(&mut count) != 0 {
                return Vec::new();
            }
            let mut known = vec![0; count.max(0) as usize];
            if lists(known.as_mut_ptr()) == 0 { known } else { Vec::new() }
        }
    }

    /// What an error code means.
    fn describe(&self, code: c_int) -> String {
        type Describe = unsafe extern "C" fn(c_int) -> *const c_char;
        // SAFETY: the library answers a static string that ends in zero.
        unsafe {
            match self.call::<Describe>(b"nvrtcGetErrorString").map(|describe| describe(code)) {
                Ok(text) if !text.is_null() => CStr::from_ptr(text).to_string_lossy().into_owned(),
                _ => format!("NVRTC error {code}"),
            }
        }
    }

    /// A function of the library.
    ///
    /// # Safety
    /// `F` is the function's type.
    unsafe fn call<F: Copy>(&self, name: &[u8]) -> Result<F, String> {
        // SAFETY: as promised by the caller.
        let symbol = unsafe { self.library.get::<F>(name) };
        symbol.map(|symbol| *symbol).map_err(|_| format!("NVRTC has no {}", String::from_utf8_lossy(name)))
    }
}

/// Opens the second library of NVRTC, if it lies beside the first: not all builds of NVRTC look for it there.
fn builtins(library: &Path) -> Vec<Library> {
    let folder = library.parent().filter(|folder| folder.is_absolute());
    let entries = folder.and_then(|folder| folder.read_dir().ok()).into_iter().flatten().flatten();
    let second = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("libnvrtc-builtins.so"));
    // SAFETY: the files are NVRTC's by their names; their initialisers have no conditions.
    second.filter_map(|entry| unsafe { Library::new(entry.path()) }.ok()).collect()
}

/// The files to try, in order.
fn candidates(at: Option<&Path>) -> Vec<PathBuf> {
    let in_folder = |folder: &Path| NAMES.iter().map(|name| folder.join(name)).collect::<Vec<_>>();
    match at {
        Some(path) if path.is_dir() => in_folder(&std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())),
        Some(path) => vec![path.to_path_buf()],
        None => {
            let by_name = NAMES.iter().map(PathBuf::from);
            by_name.chain(FOLDERS.iter().flat_map(|folder| in_folder(Path::new(folder)))).collect()
        }
    }
}
