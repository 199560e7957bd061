//! Tells the linker where the binary, the tests and the benchmarks find libtorch when they run, and
//! the code which libtorch it is (`env!("LIBTORCH_VERSION")`). What is linked, torch-sys decides.

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
        println!(
            "cargo::error=no libtorch: {} is missing; `make libtorch` fetches it",
            library.display()
        );
        return;
    }

    // `scripts/libtorch` and libtorch's own archives have this file; a Python installation has not.
    let version = fs::read_to_string(libtorch.join("build-version"));
    println!(
        "cargo::rustc-env=LIBTORCH_VERSION={}",
        version.as_deref().unwrap_or("unknown").trim()
    );
    for folder in library_folders(&libtorch, macos) {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{folder}");
    }
}

/// The folders that the dynamic linker is to search, in order.
fn library_folders(libtorch: &Path, macos: bool) -> [String; 3] {
    // An installed tree, wherever it lies, has its libraries in `lib` beside the binary's `bin`.
    let installed = if macos { "@loader_path/../lib" } else { "$ORIGIN/../lib" };
    // A binary of this checkout has the libtorch that it was built with. `libtorch_cuda.so`, which is
    // only ever opened by name while running, lies apart from it (see `scripts/libtorch`).
    let built_with = libtorch.join("lib");
    let cuda = libtorch.with_file_name("cuda").join("lib");
    [installed.to_owned(), built_with.display().to_string(), cuda.display().to_string()]
}
