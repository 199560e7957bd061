//! Benchmark of the forward pass of EfficientNet-Lite0: `cargo bench --bench inference`.
//!
//! Prints a line for each number of threads, batch and number type. `make bench` runs it beside ONNX
//! Runtime, OpenVINO and timm: then this program is a worker of `benches/peers/base.py`, and
//!
//! - `--export FILE` writes the weights that are embedded in Pawprint to a safetensors file;
//! - `--worker` reads a line `threads batch kind passes` of standard input at a time and answers
//!   with a line of JSON: the milliseconds of each pass, and the features of the first image.
//!   The kind is `fp32`, `bf16`, or `auto`: the one that the server chooses on this machine.
#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::{
    collections::HashMap,
    env,
    error::Error,
    io::{self, BufRead as _},
    path::Path,
    thread,
    time::Instant,
};

use pawprint::{
    architectures::{BaseNetwork, channels_last},
    bases::BaseWeights,
    device::{ComputeConfig, processors},
    domain::base::EFFICIENTNET_LITE0,
    memory_budget::set_up_allocator,
    weights::tensors,
};
use tch::{Device, Kind, Tensor};

const BATCHES: [i64; 3] = [1, 8, 32];
const KINDS: [&str; 2] = ["fp32", "bf16"];
const PASSES: usize = 20;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    // As in the server: the C library's allocator gives the main thread's memory back at other times.
    set_up_allocator();
    thread::spawn(run).join().map_err(|_| "the thread panicked")?
}

fn run() -> Result<(), Failure> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let shipped = EFFICIENTNET_LITE0.shipped().ok_or("the weights are not embedded")?;
    let weights = BaseWeights::shipped(&EFFICIENTNET_LITE0, shipped)?;
    if let Some(at) = arguments.iter().position(|argument| argument == "--export") {
        let path = arguments.get(at + 1).ok_or("--export needs a file")?;
        return Ok(tensors::save(Path::new(path), HashMap::new(), &weights.tensors)?);
    }
    let base = weights.network(Device::Cpu)?;
    let networks = Networks {
        fp32: base.for_inference(Kind::Float),
        bf16: base.for_inference(Kind::BFloat16),
    };
    if arguments.iter().any(|argument| argument == "--worker") {
        return serve(&networks);
    }
    let mut threads = vec![1, processors().get()];
    threads.dedup();
    for threads in threads {
        for batch in BATCHES {
            for kind in KINDS {
                let (mut ms, _) = networks.measure(threads, batch, kind, PASSES)?;
                ms.sort_by(f64::total_cmp);
                let each = |at: usize| ms[at] / batch as f64;
                println!(
                    "{threads} threads, batch {batch}, {kind}: {:.2} ms per image (quartiles {:.2} and {:.2})",
                    each(PASSES / 2),
                    each(PASSES / 4),
                    each(PASSES * 3 / 4)
                );
            }
        }
    }
    Ok(())
}

/// Answers the lines of standard input until it ends.
fn serve(networks: &Networks) -> Result<(), Failure> {
    for line in io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        let mut word = || words.next().ok_or("a line is `threads batch kind passes`");
        let (threads, batch, kind, passes) = (word()?, word()?, word()?, word()?);
        let (ms, features) =
            networks.measure(threads.parse()?, batch.parse()?, kind, passes.parse()?)?;
        println!("{}", serde_json::json!({ "ms": ms, "features": features }));
    }
    Ok(())
}

struct Networks {
    fp32: BaseNetwork,
    bf16: BaseNetwork,
}

impl Networks {
    /// Milliseconds of each of `passes`, after one that warms up, and the features of the first image.
    /// Images and features are numbers of 32 bits in memory: a pass includes their conversion.
    fn measure(
        &self,
        threads: usize,
        batch: i64,
        kind: &str,
        passes: usize,
    ) -> Result<(Vec<f64>, Vec<f64>), Failure> {
        let _no_grad = tch::no_grad_guard();
        tch::set_num_threads(i32::try_from(threads)?);
        let kind = match kind {
            "auto" => ComputeConfig::cpu().kind(),
            "bf16" => Kind::BFloat16,
            _ => Kind::Float,
        };
        let base = if kind == Kind::BFloat16 { &self.bf16 } else { &self.fp32 };
        let images = images(batch);
        let pass = || {
            let features = base.features(&channels_last(&images).to_kind(kind));
            features.to_kind(Kind::Float).contiguous()
        };
        let mut features = pass();
        let mut ms = Vec::with_capacity(passes);
        for _ in 0..passes {
            let started = Instant::now();
            features = pass();
            ms.push(started.elapsed().as_secs_f64() * 1e3);
        }
        Ok((ms, Vec::try_from(features.get(0).to_kind(Kind::Double))?))
    }
}

/// Normalised images `[n, 3, 224, 224]`: `images` of `peers/lite0_worker.py`.
fn images(batch: i64) -> Tensor {
    let index = Tensor::arange(batch * 3 * 224 * 224, (Kind::Int64, Device::Cpu));
    let bytes = (index * 7919).remainder(251_i64);
    let images = (bytes.to_kind(Kind::Float) - 127.0) * (1.0 / 128.0);
    images.view([batch, 3, 224, 224])
}
