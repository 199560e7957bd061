//! Convolutions on the CPU in one pass over memory: oneDNN adds the bias and rectifies while a result
//! is still in a register, and finds the kernel arranged as its instructions read it.
//!
//! libtorch has this for the code that its compiler generates, as a C function that `tch` does not
//! expose and that not every build of libtorch has. It is looked up by name.

use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_void},
    ptr,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use libloading::os::unix::Library;
use tch::{Device, Tensor};

use super::{
    layers::{Affine, Window},
    parts::images_of_part,
};

/// `at::Tensor*`, as in `tch`.
type Handle = *mut c_void;

/// `aoti_torch_cpu_mkldnn__convolution_pointwise` of libtorch 2.11
/// (`torch/csrc/inductor/aoti_torch/c/shim_cpu.h`): 0, and a new tensor in `result`.
type ConvolutionPointwise = unsafe extern "C" fn(
    input: Handle,
    weight: Handle,
    bias: *const Handle,
    padding: *const i64,
    padding_length: i64,
    stride: *const i64,
    stride_length: i64,
    dilation: *const i64,
    dilation_length: i64,
    groups: i64,
    activation: *const c_char,
    scalars: *const *const f64,
    scalars_length: i64,
    algorithm: *const *const c_char,
    result: *mut Handle,
) -> i32;

static CONVOLUTION_POINTWISE: LazyLock<Option<ConvolutionPointwise>> = LazyLock::new(|| {
    let name = b"aoti_torch_cpu_mkldnn__convolution_pointwise";
    // SAFETY: the type is that of the header of the libtorch that `tch` requires.
    unsafe { Library::this().get::<ConvolutionPointwise>(name) }.ok().map(|symbol| *symbol)
});

/// What follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    None,
    Relu,
    Relu6,
}

/// A convolution for inference, of one number type.
#[derive(Debug)]
pub(super) struct Fused {
    weight: Tensor,
    /// The weights in oneDNN's own layouts.
    packed: Arc<Mutex<Packed>>,
    bias: Tensor,
    window: Window,
    activation: Activation,
}

/// The weights for passes on one thread or several, of one image or several; `None` where oneDNN can't.
/// Its best layout depends on both: with AVX2, another one is rearranged in each pass, which takes
/// longer than all convolutions.
type Packed = HashMap<(bool, bool), Option<Tensor>>;

impl Fused {
    /// The convolution of `affine`, with TensorFlow's *same* padding. `None` if this libtorch, CPU or
    /// GPU can't fuse it.
    pub(super) fn same_padded(
        affine: &Affine,
        stride: i64,
        groups: i64,
        activation: Activation,
    ) -> Option<Self> {
        let weight = &affine.weight;
        // With a stride of 2, one zero more is needed after the pixels than before them, which
        // libtorch can't express. A kernel that begins with zeros gives the same without a copy of
        // the padded pixels.
        let padding = (weight.size()[2] - 1) / 2;
        let weight = match stride {
            1 => weight.shallow_clone(),
            2 if weight.size()[2] > 1 => weight.constant_pad_nd([1, 0, 1, 0]),
            _ => return None,
        };
        let affine = Affine { weight, bias: affine.bias.shallow_clone() };
        Self::new(&affine, Window { stride, padding, groups }, activation)
    }

    /// The convolution of `affine`. `None` if this libtorch, CPU or GPU can't fuse it.
    pub(super) fn new(affine: &Affine, window: Window, activation: Activation) -> Option<Self> {
        let Affine { weight, bias } = affine;
        (weight.device() == Device::Cpu && CONVOLUTION_POINTWISE.is_some()).then(|| Self {
            weight: weight.shallow_clone(),
            packed: Arc::default(),
            bias: bias.shallow_clone(),
            window,
            activation,
        })
    }

    /// The same convolution again; its weights are shared.
    pub(super) fn share(&self) -> Self {
        Self {
            weight: self.weight.shallow_clone(),
            packed: Arc::clone(&self.packed),
            bias: self.bias.shallow_clone(),
            window: self.window,
            activation: self.activation,
        }
    }

    /// The weights in oneDNN's layout for `x`. `None` for bf16 on a CPU without it.
    fn packed(&self, x: &Tensor) -> Option<Tensor> {
        let Window { stride, padding, groups } = self.window;
        // The same for batches of any size: a layout also decides how sums are rounded.
        let mut size = x.size();
        let several = size[0] > 1;
        size[0] = if several { images_of_part(x.kind()) } else { 1 };
        let pack = || {
            self.weight.f_to_mkldnn(self.weight.kind())?.f_mkldnn_reorder_conv2d_weight(
                [padding; 2],
                [stride; 2],
                [1, 1],
                groups,
                size,
            )
        };
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        let weight =
            packed.entry((tch::get_num_threads() > 1, several)).or_insert_with(|| pack().ok());
        weight.as_ref().map(Tensor::shallow_clone)
    }

    /// The maps of `x`, outside the autograd graph. `None` if `x` is not such an input: of the
    /// weights' number type, on the CPU, with an even size if the stride is 2.
    pub(super) fn forward(&self, x: &Tensor) -> Option<Tensor> {
        let Window { stride, padding, groups } = self.window;
        let fits = x.device() == Device::Cpu
            && x.kind() == self.bias.kind()
            && x.size()[2..].iter().all(|size| size % stride == 0)
            && !x.requires_grad();
        let convolve = CONVOLUTION_POINTWISE.filter(|_| fits)?;
        let weight = self.packed(x)?;
        let (stride, padding, dilation) = ([stride; 2], [padding; 2], [1; 2]);
        let (name, scalars): (&CStr, &[*const f64]) = match self.activation {
            Activation::None => (c"none", &[]),
            Activation::Relu => (c"relu", &[]),
            Activation::Relu6 => (c"hardtanh", &[&0.0, &6.0]),
        };
        let handle = |tensor: &Tensor| tensor.as_ptr().cast_mut().cast::<c_void>();
        let bias = handle(&self.bias);
        let algorithm: *const c_char = c"".as_ptr();
        let mut result: Handle = ptr::null_mut();
        // SAFETY: each pointer is to as many values as the length beside it says, and outlives the
        // call, which keeps none and changes only `result`.
        let status = unsafe {
            convolve(
                handle(x),
                handle(&weight),
                &raw const bias,
                padding.as_ptr(),
                2,
                stride.as_ptr(),
                2,
                dilation.as_ptr(),
                2,
                groups,
                name.as_ptr(),
                scalars.as_ptr(),
                scalars.len() as i64,
                &raw const algorithm,
                &raw mut result,
            )
        };
        // SAFETY: a new tensor, which is ours.
        (status == 0 && !result.is_null()).then(|| unsafe { Tensor::from_ptr(result.cast()) })
    }
}
