//! Composition root: builds a server out of its modules, runs it, and shuts it down.

use std::{future::Future, io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    access::Access,
    comparisons::Comparisons,
    config::ServeConfig,
    data_dir::DataDir,
    datasets::{self, Datasets},
    device::cuda_is_available,
    device::processors,
    error_chain::chain,
    executors::{self, attempts::Attempts},
    housekeeping::Housekeeper,
    http::{
        audit,
        router::router,
        serve::{self, ConnectionConfig},
        state::{App, AppState},
    },
    journal::Journal,
    listener::Listeners,
    metrics::Metrics,
    pretrained::Pretrained,
    registry::{Registry, embedded},
    reviews::Reviews,
    scheduler::{self, Scheduler},
    shadow::Shadows,
    storage::Storage,
    telemetry,
    tls::Tls,
    webhooks::Webhooks,
};

/// How long the end of the server waits for the log of predictions.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// `pawprint serve`: listens on `addresses`, those of the settings' host, until SIGTERM or Ctrl-C.
///
/// # Errors
/// The data directory or the addresses can't be used.
pub async fn serve(config: ServeConfig, addresses: &[SocketAddr]) -> anyhow::Result<()> {
    telemetry::init(config.log_format);
    let listeners = Listeners::bind(addresses)
        .await
        .with_context(|| format!("--listen {} (PAWPRINT_LISTEN)", config.listen))?;
    let stop = stop_signal()?;
    run(config, listeners, stop).await
}

/// Builds the modules of a server and brings them up to date; nothing runs yet.
///
/// # Errors
/// The data directory can't be used, or its database has a newer version.
pub async fn compose(config: ServeConfig) -> anyhow::Result<AppState> {
    let data_dir = Arc::new(DataDir::open(&config.data_dir)?);
    let storage = Storage::open(&data_dir.database()).await?;
    let tokens = config.api_tokens()?;
    let access = match Access::open(&tokens, storage.clone()).await {
        Err(error) if error.is_damage() => {
            tracing::error!(error = chain(&error), "can't read the API tokens that were created");
            Access::configured(&tokens, storage.clone())
        }
        opened => opened?,
    };
    let created = access.list().len();
    if created > 0 && !access.requires_token() && !config.allow_anonymous {
        bail!(
            "the database has {created} API tokens, but the settings have none, so that nobody would need one: set PAWPRINT_API_TOKEN, or pass --allow-anonymous"
        );
    }
    if let Some(path) = &config.audit_log {
        audit::open(path).with_context(|| {
            format!("can't write the audit log {} (--audit-log)", path.display())
        })?;
    }
    let shutdown = CancellationToken::new();
    let memory = config.memory_budget();
    let limits = datasets::Limits::from(&config);
    let datasets = Datasets::new(storage.clone(), &data_dir, limits, memory.clone());
    let decoders = Arc::new(Semaphore::new(processors().get()));
    let registry =
        Registry::new(&config, Arc::clone(&data_dir), storage.clone(), Arc::clone(&decoders));
    let pretrained = Pretrained::open(data_dir.weights(), config.weights.clone())?;
    let attempts = Attempts::new(storage.clone(), Arc::clone(&data_dir));
    let modules = scheduler::Modules {
        data_dir: Arc::clone(&data_dir),
        storage: storage.clone(),
        datasets: datasets.clone(),
        pretrained: pretrained.clone(),
        registry: registry.clone(),
        executor: executors::of_config(&config, &attempts)?,
    };
    let scheduler = Scheduler::new(config.clone(), modules, shutdown.clone());
    match scheduler.recover().await {
        // Predictions and whatever else can be read still work.
        Err(scheduler::Error::Storage(error)) if error.is_damage() => {
            tracing::error!(error = chain(&error), "interrupted jobs can't be resumed");
        }
        recovered => recovered?,
    }
    // Before anything is computed: later, libtorch would not look for CUDA any more.
    tokio::task::spawn_blocking(cuda_is_available).await?;
    if let Err(error) = embedded::install(&storage, &data_dir).await {
        tracing::error!(error = chain(&error), "can't install the built-in model");
    }
    if let Err(error) = registry.refresh().await {
        tracing::error!(error = chain(&error), "can't load the model to serve");
    }
    let reviews = Reviews::new(
        config.clone(),
        Arc::clone(&data_dir),
        storage.clone(),
        datasets.clone(),
        scheduler.clone(),
        shutdown.clone(),
    );
    let shadow = Shadows::new(
        &config,
        Arc::clone(&data_dir),
        storage.clone(),
        registry.clone(),
        memory.clone(),
        shutdown.clone(),
    );
    let webhooks = Webhooks::new(storage.clone(), config.webhook_allow_private, shutdown.clone());
    let comparisons = Comparisons::new(
        &config,
        Arc::clone(&data_dir),
        storage.clone(),
        registry.clone(),
        memory.clone(),
        Arc::clone(&decoders),
        shutdown.clone(),
    );
    let journal = Journal::new(config.prediction_log.clone(), &data_dir, storage.clone(), &memory);
    let admitted = Arc::new(Semaphore::new(config.queue_capacity()));
    let uploads = Arc::new(Semaphore::new(config.max_uploads()));
    Ok(Arc::new(App {
        config,
        data_dir,
        storage,
        access,
        datasets,
        pretrained,
        scheduler,
        attempts,
        reviews,
        registry,
        shadow,
        webhooks,
        comparisons,
        journal,
        metrics: Metrics::new(),
        memory,
        decoders,
        admitted,
        uploads,
        shutdown,
    }))
}

/// Runs a server on `listener` until `stop` is done, then lets requests and trainers end.
///
/// # Errors
/// As [`compose`], or the listener failed.
pub async fn run(
    config: ServeConfig,
    listener: impl Into<Listeners>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let tls = match (&config.tls_cert, &config.tls_key) {
        (Some(certificate), Some(key)) => Some(Tls::load(certificate, key)?),
        _ => None,
    };
    let app = compose(config).await?;
    let listeners = listener.into();
    if let Err(error) = app.data_dir.publish(&listeners.addresses()?) {
        tracing::warn!(error = chain(&error), "health checks can't find this server's address");
    }
    print_address(&listeners, tls.is_some())?;
    let connections = ConnectionConfig {
        tls: tls.as_ref().map(Tls::acceptor),
        max_connections: app.config.max_connections,
    };
    if let Some(tls) = tls {
        tokio::spawn(tls.renew(app.shutdown.clone()));
    }
    let housekeeper = Housekeeper {
        data_dir: Arc::clone(&app.data_dir),
        storage: app.storage.clone(),
        datasets: app.datasets.clone(),
        scheduler: app.scheduler.clone(),
        journal: app.journal.clone(),
        shutdown: app.shutdown.clone(),
    };
    tokio::spawn(housekeeper.run());
    let jobs = tokio::spawn(app.scheduler.clone().run());
    let reviews = tokio::spawn(app.reviews.clone().run());
    let shadow = tokio::spawn(app.shadow.clone().run());
    let webhooks = tokio::spawn(app.webhooks.clone().run(app.scheduler.changes()));
    let journal = tokio::spawn(app.journal.clone().run(app.shutdown.clone()));
    let shutdown = app.shutdown.clone();
    let stopping = async move {
        stop.await;
        tracing::info!("shutting down; waiting for requests and trainers");
        shutdown.cancel();
    };
    let mut server =
        tokio::spawn(serve::serve(listeners, router(Arc::clone(&app)), connections, stopping));
    tokio::select! {
        // Without connections the server ends at once; trainers come first.
        biased;
        () = app.shutdown.cancelled() => {
            let seconds = app.config.shutdown_seconds;
            let all = async { tokio::join!(&mut server, jobs, reviews, shadow, webhooks) };
            match timeout(Duration::from_secs(seconds), all).await {
                Ok((server, jobs, reviews, shadow, webhooks)) => {
                    server?;
                    jobs?;
                    reviews?;
                    shadow?;
                    webhooks?;
                }
                // Trainers are killed as their handles drop; the next server resumes their jobs.
                Err(_) => tracing::warn!(seconds, "shutdown grace period exceeded"),
            }
        }
        ended = &mut server => ended?,
    }
    save_predictions(&app.journal, journal).await;
    app.storage.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Writes the predictions that are still queued, if the disk lets it.
async fn save_predictions(journal: &Journal, task: JoinHandle<()>) {
    task.abort();
    match timeout(LAST_WRITE, journal.flush()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            let lost = journal.counts().queued;
            tracing::warn!(error = chain(&error), lost, "predictions could not be logged");
        }
        Err(_) => tracing::warn!("the last predictions could not be logged in time"),
    }
}

/// The one line on standard output: tests and scripts wait for it.
fn print_address(listeners: &Listeners, tls: bool) -> anyhow::Result<()> {
    let addresses = listeners.addresses()?;
    let scheme = if tls { "https" } else { "http" };
    let mut stdout = std::io::stdout().lock();
    if let Some(address) = addresses.first() {
        writeln!(stdout, "listening on {scheme}://{address}")?;
    }
    stdout.flush()?;
    tracing::info!(scheme, ?addresses, version = env!("CARGO_PKG_VERSION"), "listening");
    Ok(())
}

/// Done at SIGTERM or Ctrl-C. A second Ctrl-C ends the process at once.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tokio::spawn(async move {
            interrupt.recv().await;
            tracing::warn!("interrupted again; exiting immediately");
            std::process::exit(130);
        });
    })
}
