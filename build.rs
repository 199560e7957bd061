//! Tells the linker where the binary, the tests and the benchmarks find libtorch at run time, and
//! the code which version it is (`env!("LIBTORCH_VERSION")`). torch-sys decides what is linked.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
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
fn library_folders(libtorch: &Path, macos: bool) -> [String; 3] {
    // An installed tree has its libraries in `lib` beside the binary's `bin`, wherever it is.
    let installed = if macos { "@loader_path/../lib" } else { "$ORIGIN/../lib" };
    // A binary of this checkout uses the libtorch that it was built with. `libtorch_cuda.so`, which
    // is only opened by name at run time, is stored separately (see `scripts/libtorch`).
    let built_with = libtorch.join("lib");
    let cuda = libtorch.with_file_name("cuda").join("lib");
    [installed.to_owned(), built_with.display().to_string(), cuda.display().to_string()]
}
