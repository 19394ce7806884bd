//! Every kernel compiles for every architecture; the cache of compiled kernels.

use tandem_kernels::device::{Cache, DeviceError, Missing, Nvrtc, Program, Source, key, programs};

use super::find;

fn nvrtc() -> Option<Nvrtc> {
    let nvrtc = Nvrtc::open(find::nvrtc().as_deref());
    if let Err(missing) = &nvrtc {
        println!("skipped: {missing}");
    }
    nvrtc.ok()
}

fn compile(capability: (u32, u32), programs: &[Program]) {
    let Some(nvrtc) = nvrtc() else { return };
    for program in programs {
        let options = nvrtc.options(program, capability);
        let image = match nvrtc.compile(program, &options) {
            Ok(image) => image,
            Err(error) => panic!("{:?} for {capability:?}: {error}", program.defines),
        };
        for kernel in program.source.kernels {
            let named = image.windows(kernel.len()).any(|window| window == kernel.as_bytes());
            assert!(named, "{kernel} is in {}", program.source.path);
        }
    }
}

/// Each kernel once.
fn one_of_each() -> Vec<Program> {
    let mut one: Vec<Program> = Vec::new();
    for program in programs() {
        if one.iter().all(|other| other.source.kernels != program.source.kernels) {
            one.push(program);
        }
    }
    one
}

#[test]
fn every_kernel_compiles_for_compute_capability_8_0() {
    compile((8, 0), &one_of_each());
}

#[test]
fn every_kernel_compiles_for_compute_capability_10_0() {
    compile((10, 0), &one_of_each());
}

#[test]
fn every_program_compiles_for_compute_capability_9_0() {
    compile((9, 0), &programs());
}

#[test]
fn a_wrong_source_is_an_error_with_the_compilers_log() {
    let Some(nvrtc) = nvrtc() else { return };
    let source =
        Source { path: "wrong.cu", text: "extern \"C\" __global__ void wrong() { return missing; }", kernels: &[] };
    let program = Program::new(source, &[]);
    let error = nvrtc.compile(&program, &nvrtc.options(&program, (9, 0))).expect_err("it does not compile");
    let DeviceError::Compile { kernel: "wrong.cu", log } = error else { panic!("{error}") };
    assert!(log.contains("wrong.cu(1)") && log.contains("missing"), "{log}");
}

#[test]
fn a_device_newer_than_the_compiler_gets_ptx() {
    let Some(nvrtc) = nvrtc() else { return };
    let program = programs().remove(0);
    let options = nvrtc.options(&program, (99, 0));
    assert!(options[0].starts_with("--gpu-architecture=compute_"), "{options:?}");
    let image = nvrtc.compile(&program, &options).expect("it compiles");
    assert!(String::from_utf8_lossy(&image).contains(".visible .entry self_test"));
}

#[test]
fn a_missing_compiler_is_an_answer() {
    let missing = Nvrtc::open(Some("/nowhere/libnvrtc.so".as_ref())).expect_err("there is none");
    assert_eq!(missing, Missing::Nvrtc { tried: "/nowhere/libnvrtc.so".to_owned() });
    // A library that is something else.
    let missing = Nvrtc::open(Some("libc.so.6".as_ref())).map(|_| ());
    assert!(matches!(missing, Err(Missing::Nvrtc { .. })));
}

#[test]
fn a_cache_gives_back_whole_images_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = Cache::new(&folder.path().join("not yet there"));
    assert_eq!(cache.get("key"), None);
    assert!(cache.put("key", b"image"));
    assert_eq!(cache.get("key").as_deref(), Some(&b"image"[..]));
    assert!(cache.put("key", b"another"), "the last one counts");
    let file = folder.path().join("not yet there/key.kernel");
    let whole = std::fs::read(&file).expect("the file");
    for len in [0, 7, 20, whole.len() - 1] {
        std::fs::write(&file, &whole[..len]).expect("cut short");
        assert_eq!(cache.get("key"), None, "{len} bytes");
    }
    for at in [0, 8, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        std::fs::write(&file, altered).expect("altered");
        assert_eq!(cache.get("key"), None, "byte {at}");
    }
    let files = std::fs::read_dir(folder.path().join("not yet there")).expect("the folder").count();
    assert_eq!(files, 1, "no scratch files are left");
    assert!(!Cache::new("/proc/nowhere".as_ref()).put("key", b"image"), "no folder can be made there");
}

#[test]
fn keys_differ_in_text_options_and_compiler() {
    let options = |text: &str| vec![text.to_owned()];
    let keys = [
        key("text", &options("-DA=1"), (12, 9)),
        key("text2", &options("-DA=1"), (12, 9)),
        key("text", &options("-DA=2"), (12, 9)),
        key("text", &options("-DA=1"), (12, 8)),
        key("text", &["-DA".to_owned(), "=1".to_owned()], (12, 9)),
    ];
    for (at, one) in keys.iter().enumerate() {
        assert_eq!(one.len(), 64);
        assert!(keys[..at].iter().all(|other| other != one));
    }
}
