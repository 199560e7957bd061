//! Sources and downloads of weights.

use std::{fs, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    Pretrained, State,
    download::{DownloadError, Source, discard, download},
};
use crate::weights::vgg16::ConvertError;

/// The status is updated after this many further bytes.
const REPORT_EVERY: u64 = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Publisher of pretrained weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum, ToSchema)]
#[schema(as = WeightsOrigin)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Keras: 59 MB.
    Keras,
    /// torchvision: 553 MB, including the unused classifier.
    Torchvision,
}

impl Origin {
    /// The name in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keras => "keras",
            Self::Torchvision => "torchvision",
        }
    }
}

/// The source of each publisher's file. Tests use their own server.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Keras' file.
    pub keras: Source,
    /// torchvision's file.
    pub torchvision: Source,
}

impl Default for Sources {
    fn default() -> Self {
        Self { keras: Source::KERAS, torchvision: Source::TORCHVISION }
    }
}

/// Why a download failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Download(#[from] DownloadError),
    #[error("the downloaded file can't be used")]
    Convert(#[from] ConvertError),
    #[error("can't create an HTTP client")]
    Client(#[from] reqwest::Error),
    #[error("the conversion was interrupted")]
    Task(#[from] tokio::task::JoinError),
}

impl FetchError {
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Download(error) if error.is_disk_full() => "disk_full",
            Self::Convert(error) if error.is_disk_full() => "disk_full",
            Self::Download(_) | Self::Client(_) => "download_failed",
            Self::Convert(_) | Self::Task(_) => "weights_unusable",
        }
    }
}

impl Pretrained {
    /// Downloads the file of that origin, resuming an interrupted download, and imports it.
    pub(super) async fn fetch(&self, origin: Origin, since: u64) -> Result<(), FetchError> {
        let source = match origin {
            Origin::Keras => &self.0.sources.keras,
            Origin::Torchvision => &self.0.sources.torchvision,
        };
        let partial = self.partial(origin);
        let mut reported = 0;
        download(&client()?, source, &partial, |bytes, total| {
            if bytes < reported || bytes >= reported + REPORT_EVERY || Some(bytes) == total {
                reported = bytes;
                self.0.status.send_modify(|status| {
                    if status.state == State::Downloading {
                        status.downloaded_bytes = Some(bytes);
                        status.total_bytes = total;
                    }
                });
            }
        })
        .await?;
        let pretrained = self.clone();
        tokio::task::spawn_blocking(move || {
            let replaced = pretrained.replace(&partial, since);
            // Complete and verified: imported, or useless. If the disk was too full to import it,
            // it need not be downloaded again.
            if !replaced.as_ref().is_err_and(ConvertError::is_disk_full) {
                let _ = fs::remove_file(&partial);
            }
            replaced
        })
        .await?
        .map_err(FetchError::from)
    }

    /// Removes partial downloads: the rest is no longer needed.
    pub(super) fn discard_partials(&self) {
        for origin in [Origin::Keras, Origin::Torchvision] {
            discard(&self.partial(origin));
        }
    }

    fn partial(&self, origin: Origin) -> PathBuf {
        self.0.folder.join(format!("{}.partial", origin.as_str()))
    }
}

fn client() -> Result<reqwest::Client, reqwest::Error> {
    // An error only means that a provider is already installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .user_agent(concat!("pawprint/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .build()
}
