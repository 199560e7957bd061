//! Files that can be downloaded, and their checksums.

use std::{borrow::Cow, fmt, io, path::Path};

use md5::Md5;
use sha2::Sha256;

use crate::weights::files;

/// A published file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its HTTP or HTTPS URL.
    pub url: Cow<'static, str>,
    /// Its checksum.
    pub checksum: Checksum,
    /// Its size, for progress before the server reports it, and to detect a complete file.
    pub bytes: Option<u64>,
}

/// A published checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The whole MD5.
    Md5([u8; 16]),
    /// The first 4 bytes of the SHA-256, as torchvision puts them into its file names.
    Sha256Prefix([u8; 4]),
}

impl Source {
    /// VGG16 without its top, as Keras publishes it.
    pub const KERAS: Self = Self {
        url: Cow::Borrowed(
            "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        checksum: Checksum::Md5(0x6d6b_bae1_43d8_3200_6294_9451_21d1_f1fc_u128.to_be_bytes()),
        bytes: Some(58_889_256),
    };

    /// VGG16 with its classifier, as torchvision publishes it.
    pub const TORCHVISION: Self = Self {
        url: Cow::Borrowed("https://download.pytorch.org/models/vgg16-397923af.pth"),
        checksum: Checksum::Sha256Prefix(0x3979_23af_u32.to_be_bytes()),
        bytes: Some(553_433_881),
    };
}

impl Checksum {
    /// The name of the algorithm.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Md5(_) => "MD5",
            Self::Sha256Prefix(_) => "SHA-256",
        }
    }

    /// The hash of the file at `path` under the same algorithm.
    pub(super) fn of(self, path: &Path) -> io::Result<Vec<u8>> {
        Ok(match self {
            Self::Md5(_) => files::hash::<Md5>(path)?.to_vec(),
            Self::Sha256Prefix(_) => files::hash::<Sha256>(path)?.to_vec(),
        })
    }

    /// Whether `hash` is this one.
    pub(super) fn is(self, hash: &[u8]) -> bool {
        match self {
            Self::Md5(expected) => hash == expected,
            Self::Sha256Prefix(expected) => hash.starts_with(&expected),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Md5(hash) => f.write_str(&hex::encode(hash)),
            Self::Sha256Prefix(hash) => write!(f, "{}…", hex::encode(hash)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_checksums_are_as_published() {
        assert_eq!(Source::KERAS.checksum.to_string(), "6d6bbae143d832006294945121d1f1fc");
        assert_eq!(Source::TORCHVISION.checksum.to_string(), "397923af…");
    }
}
