//! The convolutions of a network in OpenVINO, which is faster than libtorch on many processors.
//!
//! Its libraries are opened by name at run time; `scripts/openvino` installs them. Everything behind the
//! convolutions stays with libtorch.

use std::{
    fmt,
    path::PathBuf,
    sync::{Mutex, OnceLock, PoisonError},
};

use openvino::{CompiledModel, Core, DeviceType, ElementType, InferRequest, RwPropertyKey, Shape};
use tch::{Kind, Tensor};

use crate::domain::{preprocessing::Preprocessing, recipe::Precision};

/// OpenVINO's C interface, of the version in `scripts/openvino-requirements.txt`.
const LIBRARY: &str = "libopenvino_c.so.2641";

/// Opens OpenVINO's libraries, the first time.
///
/// # Errors
/// They can't be opened: most often, because they are not installed.
pub(super) fn open() -> Result<(), String> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    OPENED.get_or_init(|| openvino_sys::library::load_from(PathBuf::from(LIBRARY))).clone()
}

/// Convolutions compiled for a number of threads.
pub(super) struct Compiled {
    model: Mutex<CompiledModel>,
    threads: usize,
    input: [i64; 4],
}

impl Compiled {
    /// Compiles the network in an ONNX file, as [`crate::onnx::feature_maps`] writes it, for so many
    /// passes at a time with so many threads each.
    ///
    /// # Errors
    /// OpenVINO's message.
    pub(super) fn new(
        onnx: &[u8],
        preprocessing: &Preprocessing,
        precision: Precision,
        (passes, threads): (usize, usize),
    ) -> Result<Self, String> {
        let mut core = Core::new().map_err(|error| error.to_string())?;
        let (streams, all_threads) = (passes.to_string(), (passes * threads).to_string());
        let properties = [
            (RwPropertyKey::NumStreams, &*streams),
            (RwPropertyKey::InferenceNumThreads, &*all_threads),
            // Otherwise the threads of every model get the same processors.
            (RwPropertyKey::HintEnableCpuPinning, "NO"),
            (
                RwPropertyKey::HintInferencePrecision,
                match precision {
                    Precision::Fp32 => "f32",
                    Precision::Bf16 => "bf16",
                },
            ),
        ];
        let model = core
            .set_properties(&DeviceType::CPU, properties)
            .and_then(|()| core.read_model_from_buffer(onnx, None))
            .and_then(|model| core.compile_model(&model, DeviceType::CPU))
            .map_err(|error| error.to_string())?;
        let input = [1, preprocessing.height.into(), preprocessing.width.into(), 3];
        Ok(Self { model: Mutex::new(model), threads, input })
    }

    /// Threads of each pass.
    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// The passes of one thread of the server.
    ///
    /// # Errors
    /// OpenVINO's message.
    pub(super) fn passes(&self) -> Result<Passes, String> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        let mut prepare = || {
            let mut request = model.create_infer_request()?;
            let input = openvino::Tensor::new(ElementType::U8, &Shape::new(&self.input)?)?;
            request.set_input_tensor(&input)?;
            Ok(Passes { request, input, threads: self.threads })
        };
        prepare().map_err(|error: openvino::InferenceError| error.to_string())
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Compiled").field("threads", &self.threads).finish_non_exhaustive()
    }
}

/// Forward passes of one thread, with the memory that they reuse.
pub(super) struct Passes {
    request: InferRequest,
    input: openvino::Tensor,
    threads: usize,
}

impl Passes {
    /// Threads of each pass.
    pub(super) const fn threads(&self) -> usize {
        self.threads
    }

    /// The feature maps `[1, channels, height, width]`, fp32, of a resized image: RGB bytes `[height,
    /// width, 3]`.
    ///
    /// # Errors
    /// The image has another size, or OpenVINO's message.
    pub(super) fn feature_maps(&mut self, image: &[u8]) -> Result<Tensor, String> {
        let input = self.input.get_raw_data_mut().map_err(|error| error.to_string())?;
        if input.len() != image.len() {
            return Err(format!("an image of {} bytes instead of {}", image.len(), input.len()));
        }
        input.copy_from_slice(image);
        let mut pass = || {
            self.request.infer()?;
            let output = self.request.get_output_tensor()?;
            let shape = output.get_shape()?;
            let maps = Tensor::f_from_data_size(
                output.get_raw_data()?,
                shape.get_dimensions(),
                Kind::Float,
            );
            Ok(maps.map_err(|error| error.to_string()))
        };
        pass().map_err(|error: openvino::InferenceError| error.to_string())?
    }
}

impl fmt::Debug for Passes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Passes").field("threads", &self.threads).finish_non_exhaustive()
    }
}
