//! TLS of the server: its certificate and key, read from PEM files at the start and again when
//! they change.
//!
//! Owned by `app`, and used by the HTTP server's connections. Renewed files are noticed by their
//! content: they may be replaced, or be links that lead elsewhere. While they don't fit together,
//! because only one of them was written yet, the former certificate stays.

use std::{
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{
    CertificateError, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{domain::dataset::Digest, error_chain::chain};

/// How often the files are read again.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum bytes of a file.
const MAX_BYTES: u64 = 1 << 20;

/// Why a certificate and a key can't be used: names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The system does not let a file be read.
    #[error("can't read {path} ({setting})", path = .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// A file has something else.
    #[error("{path} {reason} ({setting})", path = .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The setting that names it.
        setting: &'static str,
        /// What it has instead.
        reason: String,
    },
    /// Each is good, but they are not each other's.
    #[error(
        "the key in {key} does not belong to the certificate in {certificate}; if that file has several certificates, the server's own must be the first",
        key = .key.display(), certificate = .certificate.display()
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The library has none of the protocols.
    #[error("can't set up TLS")]
    Library(#[from] rustls::Error),
}

/// One of the two files.
#[derive(Debug, Clone)]
struct PemFile {
    path: PathBuf,
    setting: &'static str,
}

impl PemFile {
    fn read(&self) -> Result<Vec<u8>, TlsError> {
        let Self { path, setting } = self;
        let unreadable = |source| TlsError::Unreadable { path: path.clone(), setting, source };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(self.content("is larger than 1 MiB"));
        }
        if bytes.trim_ascii().is_empty() {
            return Err(self.content("is empty"));
        }
        Ok(bytes)
    }

    fn content(&self, reason: impl Into<String>) -> TlsError {
        TlsError::Content { path: self.path.clone(), setting: self.setting, reason: reason.into() }
    }
}

/// The two files.
#[derive(Debug)]
struct Files {
    certificate: PemFile,
    key: PemFile,
}

/// The bytes of the certificate's file and of the key's.
type Contents = (Vec<u8>, Vec<u8>);

/// The key itself is not kept.
fn hashes((certificate, key): &Contents) -> [Digest; 2] {
    [Digest::of(certificate), Digest::of(key)]
}

impl Files {
    fn read(&self) -> Result<Contents, TlsError> {
        Ok((self.certificate.read()?, self.key.read()?))
    }

    fn parse(&self, (certificate, key): &Contents) -> Result<CertifiedKey, TlsError> {
        let chain = self.certificates(certificate)?;
        let key = self.private_key(key)?;
        let certified =
            CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| {
                match error {
                    rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
                        certificate: self.certificate.path.clone(),
                        key: self.key.path.clone(),
                    },
                    rustls::Error::InvalidCertificate(_) => self.unusable_certificate(&error),
                    error => {
                        self.key.content(format!("has a private key that can't be used: {error}"))
                    }
                }
            })?;
        if let Ok(own) = certified.end_entity_cert() {
            self.warn_of_dates(own)?;
        }
        Ok(certified)
    }

    fn certificates(&self, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates
            .map_err(|error| self.certificate.content(format!("is not valid PEM: {error}")))?;
        if certificates.is_empty() {
            let reason = "has no certificate in PEM (-----BEGIN CERTIFICATE-----)";
            return Err(self.certificate.content(reason));
        }
        Ok(certificates)
    }

    fn private_key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            pem::Error::NoItemsFound if contains(pem, b"BEGIN ENCRYPTED PRIVATE KEY") => {
                self.key.content("has an encrypted private key: decrypt it with `openssl pkey`")
            }
            pem::Error::NoItemsFound => {
                self.key.content("has no private key in PEM (-----BEGIN PRIVATE KEY-----)")
            }
            error => self.key.content(format!("is not valid PEM: {error}")),
        })
    }

    /// Clients refuse a certificate outside of its dates. A clock that is wrong is no reason not to
    /// start.
    fn warn_of_dates(&self, own: &CertificateDer<'_>) -> Result<(), TlsError> {
        let path = self.certificate.path.display();
        let date = |time: UnixTime| {
            let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(second).unwrap_or(Timestamp::MAX)
        };
        // As a client does that trusts nobody else: the dates are looked at first.
        let mut trusted = RootCertStore::empty();
        trusted.add(own.clone().into_owned()).map_err(|error| self.unusable_certificate(&error))?;
        let provider = Arc::new(ring::default_provider());
        let client = WebPkiServerVerifier::builder_with_provider(trusted.into(), provider).build();
        let Ok(client) = client else { return Ok(()) };
        let name = ServerName::IpAddress(IpAddr::from(Ipv4Addr::LOCALHOST).into());
        match client.verify_server_cert(own, &[], &name, &[], UnixTime::now()) {
            Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after,
                ..
            })) => {
                let until = date(not_after);
                tracing::warn!(%path, %until, "the TLS certificate has expired; clients will refuse it");
            }
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => {
                let from = date(not_before);
                tracing::warn!(%path, %from, "the TLS certificate is not valid yet; clients will refuse it");
            }
            // Who its issuer is, and what it is for, is for clients to judge.
            _ => tracing::info!(%path, "using this TLS certificate"),
        }
        Ok(())
    }

    fn unusable_certificate(&self, error: &rustls::Error) -> TlsError {
        self.certificate.content(format!("has a certificate that can't be used: {error}"))
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

/// The certificate that connections get.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// TLS with a certificate that is renewed while the server runs.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    /// Hashes of what was read last.
    read: [Digest; 2],
    current: Arc<Current>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Reads the files of a certificate and its key.
    ///
    /// # Errors
    /// One can't be read or used, or they don't belong together.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files {
            certificate: PemFile {
                path: certificate.to_owned(),
                setting: "--tls-cert, PAWPRINT_TLS_CERT",
            },
            key: PemFile { path: key.to_owned(), setting: "--tls-key, PAWPRINT_TLS_KEY" },
        };
        let contents = files.read()?;
        let current = Arc::new(Current(RwLock::new(Arc::new(files.parse(&contents)?))));
        let read = hashes(&contents);
        let provider: Arc<CryptoProvider> = ring::default_provider().into();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::<Current>::clone(&current));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { files, read, current, config: config.into() })
    }

    /// What connections are accepted with.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config).into()
    }

    /// Reads the files again and again until the server shuts down. What can't be used is logged
    /// once, and tried again when it changes.
    pub async fn renew(mut self, shutdown: CancellationToken) {
        let mut failure = String::new();
        loop {
            let pause = tokio::time::sleep(CHECK_INTERVAL);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                return;
            }
            let renewing = tokio::task::spawn_blocking(move || {
                let renewed = self.read_again();
                (self, renewed)
            });
            let renewed;
            (self, renewed) = match renewing.await {
                Ok(done) => done,
                Err(panicked) => {
                    return tracing::error!(%panicked, "the TLS certificate is no longer renewed");
                }
            };
            match renewed {
                Ok(()) => failure.clear(),
                Err(error) => {
                    let error = chain(&error);
                    if error != failure {
                        tracing::error!(
                            error,
                            "can't renew the TLS certificate; keeping the former"
                        );
                        failure = error;
                    }
                }
            }
        }
    }

    fn read_again(&mut self) -> Result<(), TlsError> {
        let contents = self.files.read()?;
        let read = hashes(&contents);
        if read != self.read {
            let renewed = Arc::new(self.files.parse(&contents)?);
            *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = renewed;
            self.read = read;
        }
        Ok(())
    }
}
