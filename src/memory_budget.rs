//! One budget of memory for what requests bring: their bodies, and images while they are decoded.
//!
//! Limits of single requests multiply by the number of clients; this one does not. It has three
//! shares, so that none of them can block another:
//!
//! | share | for | when it is used up |
//! |---|---|---|
//! | an eighth | bodies while they arrive, however slowly | they go into temporary files |
//! | an eighth | what is made of the bodies of admitted requests: prepared images and copies | the request is refused |
//! | the rest | images while they are decoded, for requests, uploads and thumbnails | they wait for each other, and hold nothing that another image waits for |

use std::sync::Arc;

use bytes::Bytes;
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::device::processors;

/// The smallest budget, in bytes: a photo of a phone can be decoded within it.
pub const MIN_BYTES: u64 = 128 << 20;

/// Of the memory of this machine or container, the budget is by default one part in so many: trainers
/// and models need the rest.
const DEFAULT_PART: u64 = 4;
/// The memory of a machine that does not tell how much it has.
const UNKNOWN_MEMORY: u64 = 2 << 30;

/// Bytes of one permit.
const UNIT: u64 = 1024;

/// The budget; its clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBudget {
    bodies: Share,
    requests: Share,
    images: Share,
}

#[derive(Debug, Clone)]
struct Share {
    semaphore: Arc<Semaphore>,
    units: u32,
}

impl Share {
    fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        Self { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    fn bytes(&self) -> u64 {
        u64::from(self.units) * UNIT
    }

    fn reserved(&self) -> u64 {
        let free = self.semaphore.available_permits() as u64;
        self.bytes().saturating_sub(free * UNIT)
    }
}

/// Why memory can't be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OverBudget {
    /// Others have it at the moment.
    #[error("the server's memory budget is used up at the moment; try again shortly")]
    UsedUp,
    /// There is never that much.
    #[error(
        "this needs {needed} bytes of memory, and the server's memory budget allows {max}; --memory-budget (PAWPRINT_MEMORY_BUDGET) sets it"
    )]
    TooLarge {
        /// Bytes it takes.
        needed: u64,
        /// Bytes there are.
        max: u64,
    },
}

impl MemoryBudget {
    /// A budget of `bytes`.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        let part = bytes / 8;
        Self {
            bodies: Share::new(part),
            requests: Share::new(part),
            images: Share::new(bytes - 2 * part),
        }
    }

    /// The whole budget, in bytes.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.bodies.bytes() + self.requests.bytes() + self.images.bytes()
    }

    /// Bytes that are reserved at the moment.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.bodies.reserved() + self.requests.reserved() + self.images.reserved()
    }

    /// A reservation for a body, of nothing yet: it grows as the body arrives, so that a slow client
    /// holds no more than what it has sent.
    #[must_use]
    pub fn body(&self) -> Reservation {
        Reservation::new(&self.bodies)
    }

    /// A reservation for what is made of the body of an admitted request, of nothing yet.
    #[must_use]
    pub fn request(&self) -> Reservation {
        Reservation::new(&self.requests)
    }

    /// Waits until `bytes` are free for an image that is to be decoded. Called on a thread that may
    /// block, within a Tokio runtime; whoever came first is served first.
    ///
    /// # Errors
    /// [`OverBudget::TooLarge`] where there is never so much.
    pub fn wait_for_image(&self, bytes: u64) -> Result<Reservation, OverBudget> {
        let max = self.images.bytes();
        let units = u32::try_from(bytes.div_ceil(UNIT)).ok().filter(|it| *it <= self.images.units);
        let units = units.ok_or(OverBudget::TooLarge { needed: bytes, max })?;
        let permit = Arc::clone(&self.images.semaphore).acquire_many_owned(units);
        // The semaphore is never closed.
        let permit = Handle::current().block_on(permit).map_err(|_| OverBudget::UsedUp)?;
        Ok(Reservation { share: self.images.clone(), bytes, permit: Some(permit) })
    }

    /// As [`Self::wait_for_image`], without waiting.
    ///
    /// # Errors
    /// There is not so much at the moment, or never.
    pub fn try_image(&self, bytes: u64) -> Result<Reservation, OverBudget> {
        let mut reservation = Reservation::new(&self.images);
        reservation.grow(bytes)?;
        Ok(reservation)
    }
}

/// Memory that is reserved until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    share: Share,
    bytes: u64,
    permit: Option<OwnedSemaphorePermit>,
}

impl Reservation {
    fn new(share: &Share) -> Self {
        Self { share: share.clone(), bytes: 0, permit: None }
    }

    /// Reserves `bytes` more.
    ///
    /// # Errors
    /// They can't be had; what was reserved before stays.
    pub fn grow(&mut self, bytes: u64) -> Result<(), OverBudget> {
        let needed = self.bytes.saturating_add(bytes);
        let max = self.share.bytes();
        let units = u32::try_from(needed.div_ceil(UNIT)).ok().filter(|it| *it <= self.share.units);
        let units = units.ok_or(OverBudget::TooLarge { needed, max })?;
        let held = self.permit.as_ref().map_or(0, |it| it.num_permits() as u32);
        if units > held {
            let more = Arc::clone(&self.share.semaphore).try_acquire_many_owned(units - held);
            let more = more.map_err(|_| OverBudget::UsedUp)?;
            match &mut self.permit {
                Some(permit) => permit.merge(more),
                None => self.permit = Some(more),
            }
        }
        self.bytes = needed;
        Ok(())
    }

    /// Bytes that are reserved.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all that is reserved.
    pub fn clear(&mut self) {
        self.permit = None;
        self.bytes = 0;
    }

    /// `buffer` as bytes that hold this reservation until the last slice of them is dropped.
    #[must_use]
    pub fn attach(self, buffer: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        struct Owner<T> {
            buffer: T,
            _reservation: Reservation,
        }

        impl<T: AsRef<[u8]>> AsRef<[u8]> for Owner<T> {
            fn as_ref(&self) -> &[u8] {
                self.buffer.as_ref()
            }
        }

        Bytes::from_owner(Owner { buffer, _reservation: self })
    }
}

/// A quarter of [`usable_memory`].
#[must_use]
pub fn default_bytes() -> u64 {
    (usable_memory().unwrap_or(UNKNOWN_MEMORY) / DEFAULT_PART).max(MIN_BYTES)
}

/// The memory that this process may use: the machine's, or what its control group (a container's limit)
/// allows, in bytes; `None` where it can't be told.
#[must_use]
pub fn usable_memory() -> Option<u64> {
    let mut system = System::new().ok()?;
    system.refresh_memory();
    let memory = Some(system.total_memory()).filter(|&bytes| bytes > 0);
    let pid = sysinfo::get_current_pid().ok()?;
    let nothing = ProcessRefreshKind::nothing();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, nothing);
    let group = system.process(pid).and_then(sysinfo::Process::cgroup_limits);
    let group = group.map(|limits| limits.total_memory).filter(|&bytes| bytes > 0);
    memory.into_iter().chain(group).min()
}

/// Largest block that glibc takes from its arenas instead of mapping it: the limit that it accepts.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST_BLOCK: libc::c_int = 32 << 20;

/// Settings of the C library's allocator.
///
/// One arena per processor, up to eight: by default glibc has eight per processor, each of which may
/// keep tens of megabytes that images were decoded in. And an arena keeps the room for one more large
/// block: by default, whether a network's feature maps are unmapped and mapped again, page by page, in
/// every pass depends on how the arena happens to be filled. Two starts of one server answered 8 clients
/// at 420 and at 225 predictions per second.
///
/// No lists of small free blocks beside those of each thread: they would be merged whenever a feature
/// map is freed, which took 4% of a forward pass of EfficientNet-Lite0.
///
/// To be called before there are threads.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn set_up_allocator() {
    let arenas = i32::try_from(processors().get().clamp(2, 8)).unwrap_or(i32::MAX);
    let settings = [
        (libc::M_ARENA_MAX, arenas),
        (libc::M_MXFAST, 0),
        (libc::M_MMAP_THRESHOLD, LARGEST_BLOCK),
        (libc::M_TOP_PAD, LARGEST_BLOCK),
        // Twice that, as glibc sets it by itself.
        (libc::M_TRIM_THRESHOLD, 2 * LARGEST_BLOCK),
    ];
    for (name, value) in settings {
        // SAFETY: it sets a number within the allocator, under the allocator's own lock.
        unsafe { libc::mallopt(name, value) };
    }
}

/// Other allocators need no help.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn set_up_allocator() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_reserves_what_has_arrived_and_gives_it_back_with_its_last_slice() {
        let budget = MemoryBudget::new(16 * UNIT);
        let mut body = budget.body();
        assert_eq!(budget.reserved(), 0);
        body.grow(1).unwrap();
        body.grow(UNIT - 1).unwrap();
        assert_eq!(budget.reserved(), UNIT);
        body.grow(UNIT).unwrap();
        let bytes = body.attach(vec![7; 2048]);
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!((budget.reserved(), &slice[..]), (2 * UNIT, &[7; 10][..]));
        drop(slice);
        assert_eq!(budget.reserved(), 0);
    }

    #[test]
    fn what_others_have_is_used_up_and_what_is_never_there_is_too_large() {
        let budget = MemoryBudget::new(32 * UNIT);
        let (mut first, mut second) = (budget.request(), budget.request());
        first.grow(3 * UNIT).unwrap();
        assert_eq!(second.grow(2 * UNIT), Err(OverBudget::UsedUp));
        second.grow(UNIT).unwrap();
        assert_eq!(second.grow(1), Err(OverBudget::UsedUp));
        first.clear();
        second.grow(1).unwrap();
        assert_eq!(second.grow(u64::MAX), Err(too_large(u64::MAX, 4 * UNIT)));
        assert_eq!(first.grow(4 * UNIT + 1), Err(too_large(4 * UNIT + 1, 4 * UNIT)));
    }

    fn too_large(needed: u64, max: u64) -> OverBudget {
        OverBudget::TooLarge { needed, max }
    }

    #[tokio::test]
    async fn images_wait_for_each_other_and_not_for_bodies() {
        let budget = MemoryBudget::new(16 * UNIT);
        let (mut body, mut request) = (budget.body(), budget.request());
        body.grow(2 * UNIT).unwrap();
        request.grow(2 * UNIT).unwrap();
        let wait = |bytes| {
            let budget = budget.clone();
            tokio::task::spawn_blocking(move || budget.wait_for_image(bytes))
        };
        let first = wait(12 * UNIT).await.unwrap().unwrap();
        assert_eq!(wait(13 * UNIT).await.unwrap().unwrap_err(), too_large(13 * UNIT, 12 * UNIT));
        let second = wait(1);
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap().unwrap();
        assert_eq!(budget.reserved(), 4 * UNIT);
    }

    #[test]
    fn a_default_is_found() {
        assert!(default_bytes() >= MIN_BYTES);
        assert!(usable_memory().is_some());
    }
}
