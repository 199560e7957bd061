//! Which engine computes a model's convolutions: libtorch at first; once `second_engine` has prepared it,
//! OpenVINO for those numbers of threads for which it is compiled.

use std::{
    cell::RefCell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use tch::Tensor;

use super::{
    openvino::{Compiled, Passes},
    thread_choice::ThreadChoice,
};

/// The convolutions of a model in OpenVINO; its clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Convolutions(Arc<OnceLock<Ready>>);

/// A model's convolutions in OpenVINO, which agrees with libtorch.
#[derive(Debug)]
pub(super) struct Ready {
    compiled: Vec<Compiled>,
    thread_choice: ThreadChoice,
    /// A pass failed: libtorch takes over for good.
    failed: AtomicBool,
}

impl Convolutions {
    /// How many threads a lone request gets, as measured when OpenVINO was prepared; `None` while libtorch computes all.
    pub(super) fn thread_choice(&self) -> Option<&ThreadChoice> {
        self.0.get().filter(|ready| !ready.has_failed()).map(|ready| &ready.thread_choice)
    }

    /// The feature maps of these images, `[n, channels, height, width]`, on as many threads as libtorch
    /// would use on this thread; `None` if libtorch has to compute them.
    pub(super) fn feature_maps(
        &self,
        own: &OwnPasses,
        images: &[impl AsRef<[u8]>],
    ) -> Option<Tensor> {
        let ready = self.0.get().filter(|ready| !ready.has_failed())?;
        let threads = usize::try_from(tch::get_num_threads()).ok()?;
        let compiled = ready.compiled.iter().find(|it| it.threads() == threads)?;
        match own.feature_maps(compiled, images) {
            Ok(maps) => Some(maps),
            Err(error) => {
                if !ready.failed.swap(true, Ordering::Relaxed) {
                    tracing::error!(error, "OpenVINO failed; libtorch computes from now on");
                }
                None
            }
        }
    }

    /// Whether the model's other threads, and its engine, are gone.
    pub(super) fn is_abandoned(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    /// Has OpenVINO compute them from now on.
    ///
    /// # Errors
    /// A message: it does already.
    pub(super) fn set(&self, ready: Ready) -> Result<(), String> {
        self.0.set(ready).map_err(|_| "OpenVINO computes already".to_owned())
    }
}

impl Ready {
    /// Of these compiled convolutions; a lone request gets as many threads as `thread_choice` says.
    pub(super) const fn new(compiled: Vec<Compiled>, thread_choice: ThreadChoice) -> Self {
        Self { compiled, thread_choice, failed: AtomicBool::new(false) }
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }
}

/// What OpenVINO reuses from pass to pass on one of the model's threads.
#[derive(Debug, Default)]
pub(super) struct OwnPasses(RefCell<Vec<Passes>>);

impl OwnPasses {
    pub(super) fn feature_maps(
        &self,
        compiled: &Compiled,
        images: &[impl AsRef<[u8]>],
    ) -> Result<Tensor, String> {
        let mut all = self.0.try_borrow_mut().map_err(|error| error.to_string())?;
        let place = match all.iter().position(|it| it.threads() == compiled.threads()) {
            Some(place) => place,
            None => {
                all.push(compiled.passes()?);
                all.len() - 1
            }
        };
        let maps = images.iter().map(|image| all[place].feature_maps(image.as_ref()));
        let mut maps = maps.collect::<Result<Vec<_>, _>>()?;
        match maps.len() {
            1 => Ok(maps.remove(0)),
            _ => Tensor::f_cat(&maps, 0).map_err(|error| error.to_string()),
        }
    }
}
