//! Where a body that must be whole before it is read is kept while it arrives: in memory, and in a
//! temporary file once the memory budget for bodies is used up. So neither many nor slow clients
//! take more memory than that, and none of them is refused for it.

use std::{fs::File, io};

use axum::body::Bytes;
use memmap2::Mmap;
use tempfile::TempPath;

use super::{problem::Problem, state::App};
use crate::{
    datasets::upload::{Spool, Spooled},
    memory_budget::Reservation,
};

/// A body so far.
#[derive(Debug)]
pub(super) enum BodyBuffer {
    Memory(Vec<u8>, Reservation),
    File(Spool),
}

impl BodyBuffer {
    /// An empty one.
    pub(super) fn new(state: &App) -> Self {
        Self::Memory(Vec::new(), state.memory.body())
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes, _) => bytes.len() as u64,
            Self::File(spool) => spool.bytes(),
        }
    }

    /// Appends `chunk`.
    ///
    /// # Errors
    /// The temporary file can't be written: 507 where the disk is full.
    pub(super) async fn push(self, chunk: Bytes, state: &App) -> Result<Self, Problem> {
        match self {
            Self::Memory(mut bytes, mut reservation) => {
                if reservation.grow(chunk.len() as u64).is_ok() {
                    bytes.extend_from_slice(&chunk);
                    return Ok(Self::Memory(bytes, reservation));
                }
                let spool = state.datasets.spool().await?;
                let spool = spool.push(reservation.attach(bytes)).await?;
                Ok(Self::File(spool.push(chunk).await?))
            }
            Self::File(spool) => Ok(Self::File(spool.push(chunk).await?)),
        }
    }

    /// The whole body. Its memory or its file lasts as long as its last slice.
    ///
    /// # Errors
    /// As [`BodyBuffer::push`].
    pub(super) async fn finish(self) -> Result<Bytes, Problem> {
        match self {
            Self::Memory(bytes, reservation) => Ok(reservation.attach(bytes)),
            Self::File(spool) => {
                let spooled = spool.finish().await?;
                let map = tokio::task::spawn_blocking(move || map(spooled));
                let map = map.await.map_err(|error| Problem::internal(&error))?;
                map.map_err(|error| Problem::internal(&error))
            }
        }
    }
}

/// The bytes of a temporary file, which the system may drop from memory and read again.
fn map(spooled: Spooled) -> io::Result<Bytes> {
    struct Mapped {
        map: Mmap,
        _file: TempPath,
    }

    impl AsRef<[u8]> for Mapped {
        fn as_ref(&self) -> &[u8] {
            &self.map
        }
    }

    let file = File::open(&spooled.path)?;
    // SAFETY: nothing else knows the temporary file, which was written to its end before, and whose
    // name goes with the map.
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Bytes::from_owner(Mapped { map, _file: spooled.path }))
}
