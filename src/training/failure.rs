//! How a trainer ends without success: error codes and readable messages.

use std::{any::Any, io, path::Path};

use crate::{
    device::{GpuError, first_line, is_out_of_memory},
    error_chain::chain,
    weights,
};

/// Why training stopped before it was done.
#[derive(Debug)]
pub enum StopReason {
    /// A user cancelled it.
    Cancelled,
    /// A user stopped it early, to keep the best epoch so far.
    Stopped,
    /// The server shuts down; another trainer will resume from the checkpoint.
    Suspended,
    /// It failed.
    Failed(Failure),
}

/// A failure with a readable message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable error code.
    pub code: &'static str,
    /// Readable message.
    pub detail: String,
}

impl Failure {
    /// A failure with that code.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The file system failed on `path`.
    #[must_use]
    pub fn io(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::disk_full(),
            io::ErrorKind::OutOfMemory => Self::out_of_memory(&error.to_string()),
            _ => Self::new("io_error", format!("can't read or write {}: {error}", path.display())),
        }
    }

    /// The job was stopped too early.
    #[must_use]
    pub fn nothing_to_keep() -> Self {
        Self::new(
            "nothing_to_keep",
            "the job was stopped before its first epoch completed, so it has no model",
        )
    }

    fn disk_full() -> Self {
        Self::new(
            "disk_full",
            "the disk of the data directory is full; free up space, then resume the job",
        )
    }

    /// Out of memory, on the device or in the machine, with libtorch's message.
    #[must_use]
    pub fn out_of_memory(words: &str) -> Self {
        Self::new(
            "out_of_memory",
            format!("out of memory: use a smaller batch_size or free memory ({words})"),
        )
    }

    /// The failure of a panic, most often one of libtorch's.
    #[must_use]
    pub fn from_panic(panic: &(dyn Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("a panic without a message");
        let words = first_line(message);
        if is_out_of_memory(message) {
            return Self::out_of_memory(&words);
        }
        Self::new("internal", format!("internal error in the trainer; see the job log ({words})"))
    }
}

impl From<GpuError> for Failure {
    fn from(error: GpuError) -> Self {
        match error {
            GpuError::OutOfMemory(words) => Self::out_of_memory(&words),
            GpuError::Unusable(reason) => Self::new(
                "device_unavailable",
                format!("CUDA was requested but {reason}; use device `auto` or `cpu`"),
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
        for words in [
            "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`",
            "std::bad_alloc",
            "called `Result::unwrap()` on an `Err` value: Torch(\"could not create a primitive\")",
            "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }",
        ] {
            assert_eq!(code(words), "out_of_memory", "{words}");
        }
        assert_eq!(
            code("Torch(\"could not create a primitive descriptor for a convolution\")"),
            "internal"
        );
        assert_eq!(code("index out of bounds"), "internal");
        let error = io::Error::from(io::ErrorKind::OutOfMemory);
        assert_eq!(Failure::io(Path::new("cache"), &error).code, "out_of_memory");
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
