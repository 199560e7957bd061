//! Tells the linker where the binary, the tests and the benchmarks find libtorch at run time, and
//! the code which version it is (`env!("LIBTORCH_VERSION")`). torch-sys decides what is linked.
//!
//! Converts the weights of each base network in `.base-weights` into what is embedded in the binary, in
//! `OUT_DIR`: `efficientnet_lite0.safetensors` (float16), for example, and the SHA-256 of the published
//! file, 32 bytes, in `efficientnet_lite0.sha256`.

#[path = "build/efficientnet_lite.rs"]
mod efficientnet_lite;

use std::path::{Path, PathBuf};
use std::{env, fs};

use half::f16;
use safetensors::{Dtype, tensor::TensorView};
use sha2::{Digest as _, Sha256};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    libtorch();
    base_weights();
}

fn libtorch() {
    println!("cargo::rerun-if-env-changed=LIBTORCH");

    let macos = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "macos");
    let libtorch = PathBuf::from(env::var_os("LIBTORCH").unwrap_or_default());
    let library =
        libtorch.join(if macos { "lib/libtorch_cpu.dylib" } else { "lib/libtorch_cpu.so" });
    println!("cargo::rerun-if-changed={}", library.display());
    if !library.exists() {
        println!("cargo::error=libtorch not found at {}; run `make libtorch`", library.display());
        return;
    }

    // `scripts/libtorch` and libtorch's own archives have this file; a Python installation does
    // not.
    let version = fs::read_to_string(libtorch.join("build-version"));
    println!(
        "cargo::rustc-env=LIBTORCH_VERSION={}",
        version.as_deref().unwrap_or("unknown").trim()
    );
    for folder in library_folders(&libtorch, macos) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}

/// The folders that the dynamic linker searches, in order.
fn library_folders(libtorch: &Path, macos: bool) -> [String; 4] {
    // An installed tree has its libraries in `lib` beside the binary's `bin`, wherever it is.
    let installed = if macos { "@loader_path/../lib" } else { "$ORIGIN/../lib" };
    // A binary of this checkout uses the libtorch that it was built with. `libtorch_cuda.so`, which
    // is only opened by name at run time, is stored separately (see `scripts/libtorch`).
    let built_with = libtorch.join("lib");
    let cuda = libtorch.with_file_name("cuda").join("lib");
    // OpenVINO is also opened by name (see `scripts/openvino`).
    let checkout = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default());
    let openvino = checkout.join(".openvino").join("lib");
    let [built_with, cuda, openvino] =
        [built_with, cuda, openvino].map(|folder| folder.display().to_string());
    [installed.to_owned(), built_with, cuda, openvino]
}

fn base_weights() {
    let folder = |variable| PathBuf::from(env::var_os(variable).unwrap_or_default());
    let source = folder("CARGO_MANIFEST_DIR").join(".base-weights");
    println!("cargo::rerun-if-changed={}", source.display());
    let entries = fs::read_dir(&source).into_iter().flatten().flatten().map(|entry| entry.path());
    let files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|it| it == "pth")).collect();
    if !files.iter().any(|file| file.ends_with("efficientnet_lite0.pth")) {
        println!(
            "cargo::error=the weights of the base networks were not found in {}; run `make base-weights`",
            source.display()
        );
    }
    for file in files {
        if let Err(error) = convert(&file, &folder("OUT_DIR")) {
            println!("cargo::error=can't convert {}: {error}", file.display());
        }
    }
}

fn convert(source: &Path, target: &Path) -> Result<(), String> {
    let tensors = efficientnet_lite::read(source)?;
    let rounded = tensors.iter().map(float16).collect::<Result<Vec<_>, String>>()?;
    let views = tensors.iter().zip(&rounded).map(|(tensor, bytes)| {
        TensorView::new(Dtype::F16, tensor.shape.clone(), bytes).map(|view| (&tensor.name, view))
    });
    let views = views.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
    let name = source.file_name().ok_or("a file without a name")?;
    let target = target.join(name);
    safetensors::serialize_to_file(views, None, &target.with_extension("safetensors"))
        .map_err(|error| error.to_string())?;
    let sha256 = Sha256::digest(fs::read(source).map_err(|error| error.to_string())?);
    fs::write(target.with_extension("sha256"), sha256).map_err(|error| error.to_string())
}

/// The values of a tensor as float16, little-endian.
fn float16(tensor: &efficientnet_lite::Tensor) -> Result<Vec<u8>, String> {
    let values: Vec<f16> = tensor.values.iter().copied().map(f16::from_f32).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values.into_iter().flat_map(f16::to_le_bytes).collect())
    } else {
        Err(format!("tensor `{}` has values that float16 can't represent", tensor.name))
    }
}
