//! The threads that a forward pass is spread over.

use std::{ffi::c_int, sync::LazyLock};

use libloading::os::unix::Library;

/// `omp_pause_resource_all` of OpenMP 5.0: ends the threads that wait for work of the caller.
type PauseResourceAll = unsafe extern "C" fn(kind: c_int) -> c_int;

/// `omp_pause_soft`: what the program has set stays.
const SOFT: c_int = 1;

static PAUSE_RESOURCE_ALL: LazyLock<Option<PauseResourceAll>> = LazyLock::new(|| {
    // SAFETY: the type is that of the standard. libtorch links an OpenMP library, so it is loaded.
    unsafe { Library::this().get::<PauseResourceAll>(b"omp_pause_resource_all") }
        .ok()
        .map(|symbol| *symbol)
});

/// Runs `work`, whose forward passes use that many threads, this one included.
///
/// Between two passes OpenMP's threads spin for some milliseconds to find the next one at once. A
/// server has other work for the processors meanwhile, so they are ended: starting and ending one
/// takes less than 0.1 ms.
pub(super) fn with_threads<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    let result = work();
    if threads > 1
        && let Some(pause) = *PAUSE_RESOURCE_ALL
    {
        // SAFETY: this thread is outside any parallel region, and its next one starts new threads.
        unsafe { pause(SOFT) };
    }
    result
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{fs, thread};

    use tch::{Device, Kind, Tensor};

    use super::*;

    /// Threads of this process whose processor time has been used for this test's thread: those that
    /// OpenMP starts have the name of the thread that starts them.
    fn threads_named(name: &str) -> usize {
        let tasks = fs::read_dir("/proc/self/task").unwrap();
        let names =
            tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }

    #[test]
    fn the_threads_of_a_pass_end_with_it_and_its_result_stays() {
        let name = "ends-its-team";
        let test = move || {
            let matrix = Tensor::ones([512, 512], (Kind::Float, Device::Cpu));
            let pass = || matrix.matmul(&matrix).softmax(1, Kind::Float).sum(Kind::Float);
            let alone = with_threads(1, pass).double_value(&[]);
            let (during, shared) = with_threads(3, || {
                let sum = pass().double_value(&[]);
                (threads_named(name), sum)
            });
            assert!(during > 1, "{during}");
            assert_eq!(threads_named(name), 1);
            // A later pass has threads again.
            let again = with_threads(3, pass).double_value(&[]);
            for sum in [alone, shared, again] {
                assert!((sum - 512.0).abs() < 1e-3, "{sum}");
            }
        };
        thread::Builder::new().name(name.to_owned()).spawn(test).unwrap().join().unwrap();
    }
}
