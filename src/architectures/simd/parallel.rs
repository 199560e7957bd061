//! Work on the threads of libtorch.
//!
//! OpenMP's threads wait actively for their next work: others would compete with them for processors. So these are
//! used, through the function that compilers call for a parallel region, which is looked up by name.

use std::{
    ffi::c_void,
    sync::{
        LazyLock, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use libloading::os::unix::Library;

/// Calls a function with a pointer on so many threads, this one among them; GNU's implementation of OpenMP.
type GompParallel = unsafe extern "C" fn(
    function: extern "C" fn(*mut c_void),
    data: *mut c_void,
    threads: u32,
    flags: u32,
);

static GOMP_PARALLEL: LazyLock<Option<GompParallel>> = LazyLock::new(|| {
    // SAFETY: the type is that of the binary interface of libgomp, which doesn't change.
    unsafe { Library::this().get::<GompParallel>(b"GOMP_parallel") }.ok().map(|symbol| *symbol)
});

/// What is left to do.
struct Work<'a> {
    next: AtomicUsize,
    run: &'a (dyn Fn(usize) + Sync),
    items: usize,
}

/// Calls `run` with each item, on as many threads as libtorch uses for a pass, or on this one where libtorch has
/// another implementation of OpenMP. A panic ends the process where there are several threads.
pub(super) fn for_each<T: Send>(items: Vec<T>, run: impl Fn(T) + Sync) {
    // All of them, even for fewer items: libgomp ends threads that a region doesn't ask for.
    let threads = u32::try_from(tch::get_num_threads()).unwrap_or(1);
    let parallel = GOMP_PARALLEL.filter(|_| threads > 1 && items.len() > 1);
    let Some(parallel) = parallel else { return items.into_iter().for_each(run) };
    let items: Vec<_> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
    let run = |index: usize| {
        let item = items
            .get(index)
            .and_then(|item| item.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(item) = item {
            run(item);
        }
    };
    let work = Work { next: AtomicUsize::new(0), run: &run, items: items.len() };
    // SAFETY: `work` outlives the call, and `do_work` only reads it.
    unsafe { parallel(do_work, (&raw const work).cast_mut().cast(), threads, 0) };
}

/// Takes items until there are none.
extern "C" fn do_work(work: *mut c_void) {
    // SAFETY: `for_each` passes a reference.
    let work = unsafe { &*work.cast::<Work<'_>>() };
    loop {
        let index = work.next.fetch_add(1, Ordering::Relaxed);
        if index >= work.items {
            return;
        }
        (work.run)(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_taken_once() {
        for threads in [1, 3] {
            tch::set_num_threads(threads);
            for items in [0, 1, 2, 100] {
                let seen = Mutex::new(Vec::new());
                for_each((0..items).collect(), |item: i32| seen.lock().unwrap().push(item));
                let mut seen = seen.into_inner().unwrap();
                seen.sort_unstable();
                assert_eq!(seen, (0..items).collect::<Vec<_>>());
            }
        }
    }
}
