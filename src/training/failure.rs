//! How a trainer ends other than well, in codes for programs and sentences for people.

use std::{any::Any, io, path::Path};

use crate::{
    device::{GpuError, first_line, is_out_of_memory},
    error_chain::chain,
    weights,
};

/// Why training stopped before it was done.
#[derive(Debug)]
pub enum StopReason {
    /// A person cancelled it.
    Cancelled,
    /// A person wants the best epoch so far.
    Stopped,
    /// The server shuts down; another trainer will go on from the state.
    Suspended,
    /// It can't go on.
    Failed(Failure),
}

/// A failure that a person can understand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable and snake_case.
    pub code: &'static str,
    /// A sentence.
    pub detail: String,
}

impl Failure {
    /// A failure of that code.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The file system refused what was asked of `path`.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::StorageFull {
            return Self::disk_full();
        }
        Self::new("io_error", format!("{}: {error}", path.display()))
    }

    /// A person stopped the job too early.
    #[must_use]
    pub fn nothing_to_keep() -> Self {
        Self::new(
            "nothing_to_keep",
            "the job was stopped before its first epoch was complete: there is no model to keep",
        )
    }

    fn disk_full() -> Self {
        Self::new(
            "disk_full",
            "the disk that holds the data directory is full; make room, then resume the job",
        )
    }

    /// There is not enough memory, on the device or in the machine; what libtorch says of it.
    #[must_use]
    pub fn out_of_memory(words: &str) -> Self {
        Self::new(
            "out_of_memory",
            format!(
                "there is not enough memory: try a smaller batch_size, or end what else uses it ({words})"
            ),
        )
    }

    /// What a panic, most often one of libtorch's, says.
    #[must_use]
    pub fn from_panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without words");
        let words = first_line(message);
        if is_out_of_memory(message) {
            return Self::out_of_memory(&words);
        }
        Self::new(
            "internal",
            format!("the trainer met an error of its own; its log has more ({words})"),
        )
    }
}

impl From<GpuError> for Failure {
    fn from(error: GpuError) -> Self {
        match error {
            GpuError::OutOfMemory(words) => Self::out_of_memory(&words),
            GpuError::Unusable(reason) => Self::new(
                "device_unavailable",
                format!("the job asks for CUDA, and {reason}; use device `auto` or `cpu`"),
            ),
        }
    }
}

impl From<Failure> for StopReason {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<weights::Error> for StopReason {
    fn from(error: weights::Error) -> Self {
        if error.is_disk_full() {
            return Failure::disk_full().into();
        }
        Failure::new("io_error", chain(&error)).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_memory_is_told_from_other_panics() {
        let code = |message: &str| Failure::from_panic(&message.to_owned()).code;
        assert_eq!(
            code("Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB\")"),
            "out_of_memory"
        );
        assert_eq!(
            code(
                "[enforce fail at alloc_cpu.cpp:116] . DefaultCPUAllocator: can't allocate memory: you tried"
            ),
            "out_of_memory"
        );
        for words in ["CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", "std::bad_alloc"] {
            assert_eq!(code(words), "out_of_memory", "{words}");
        }
        assert_eq!(code("index out of bounds"), "internal");
    }

    #[test]
    fn of_libtorchs_words_only_the_first_line_is_shown() {
        let shape = || {
            tch::Tensor::zeros([2, 3], tch::kind::FLOAT_CPU)
                .matmul(&tch::Tensor::zeros([2, 3], tch::kind::FLOAT_CPU))
        };
        let panic = std::panic::catch_unwind(shape).unwrap_err();
        let detail = Failure::from_panic(&*panic).detail;
        assert!(detail.contains("mat1 and mat2 shapes cannot be multiplied"), "{detail}");
        assert!(!detail.contains("frame #") && detail.len() < 500, "{detail}");
    }
}
