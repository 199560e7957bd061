//! Pawprint: train, evaluate and serve image classifiers over HTTP.
//!
//! A map of the modules, and of who owns what:
//!
//! | module | what it is for | runs in |
//! |---|---|---|
//! | [`cli`] | the commands; clients of a running server, but for `serve`, `trainer`, `reviewer`, `predict --model`, `export FILE` and those of `maintenance` | the process itself |
//! | [`app`] | composes a server out of the modules below and shuts it down | server, main task |
//! | [`listener`] | the sockets that the server listens on | server, main task |
//! | [`tls`] | the server's certificate, renewed while it runs | server, one task |
//! | [`housekeeping`] | removes unreferenced files | server, one task |
//! | [`maintenance`] | backups, restoring them, checks of a data directory | `backup`, `restore`, `doctor` |
//! | [`http`] | routes, handlers, problems | server, tokio tasks |
//! | [`access`] | API tokens and their scopes | server, tokio tasks |
//! | [`metrics`] | the metrics of `GET /metrics` | server, tokio tasks |
//! | [`charts`] | SVG from domain types | server, tokio tasks |
//! | [`scheduler`] | the queue, a run of an executor per running job, events into rows | server, tokio tasks |
//! | [`executors`] | where trainers run: child processes, Ray, Slurm | server, tokio tasks |
//! | [`agent`] | the trainer on another machine: fetches a job, sends its results | `pawprint trainer --from` |
//! | [`reviews`] | one child process that reviews a dataset, its results, what people decide | server, tokio tasks |
//! | [`comparisons`] | two models on the same test images | server, tokio tasks |
//! | [`shadow`] | a model that answers requests beside the one in service | server, a named thread |
//! | [`registry`] | which model is in service, aliases, their history | server, tokio tasks |
//! | [`journal`] | the log of predictions: feedback, drift | server, one task |
//! | [`pretrained`] | weights that are not in the binary: imported, downloaded | server, tokio tasks |
//! | [`inference`] | the model's own threads and their queues | server, named threads for each model |
//! | [`report`] | what there is to know of a model, as data and as a page | server |
//! | [`webhooks`] | tells others what has happened | server, a tokio task |
//! | [`onnx`] | models as ONNX files, for the runtimes of others | server, blocking threads, and `export` |
//! | [`datasets`] | uploads, archives, statistics, manifests | server, blocking threads |
//! | [`training`] | the trainer: a function of its job folder | a child process, `pawprint trainer` |
//! | [`review`] | what a dataset hides: a function of its folder | a child process, `pawprint reviewer` |
//! | [`model_file`] | a model's file: weights, card, canary images | server and trainer |
//! | [`neighbours`] | how far an image is from a model's training images | server and trainer |
//! | [`memory_budget`] | the memory that all requests share | server |
//! | [`weights`] | tensors on disk, checkpoints, readers of pretrained weights | server and trainer |
//! | [`bases`] | the weights that base networks start from; the networks are a table, [`domain::base`] | server and trainer |
//! | [`architectures`] | layers and nothing else | server and trainer |
//! | [`vision`] | decode, resize: one path for training and prediction | server and trainer |
//! | [`blobs`] | the images' encoded bytes, by their hash | server and trainer |
//! | [`device`] | CPUs, GPUs, precision: what tensors are computed on | server and trainer |
//! | [`storage`] | the only SQL | server |
//! | [`domain`] | types and rules without I/O | everywhere |
//!
//! Dependencies point one way, from `http` down to `domain`. `POST /predict` walks `http::predict`,
//! `vision`, `inference`; `POST /jobs` walks `http::jobs`, `scheduler`, `datasets`, `storage`, and
//! from there a child process walks `training`, `architectures`, `weights`.

pub mod access;
pub mod agent;
pub mod app;
pub mod architectures;
pub mod bases;
pub mod blobs;
pub mod charts;
pub mod cli;
pub mod comparisons;
pub mod config;
pub mod data_dir;
pub mod datasets;
pub mod device;
pub mod domain;
pub mod error_chain;
pub mod executors;
pub mod housekeeping;
pub mod http;
pub mod inference;
pub mod journal;
pub mod listener;
pub mod maintenance;
pub mod memory_budget;
pub mod metrics;
pub mod model_file;
pub mod neighbours;
pub mod onnx;
pub mod pretrained;
pub mod registry;
pub mod report;
pub mod review;
pub mod reviews;
pub mod scheduler;
pub mod shadow;
pub mod storage;
pub mod telemetry;
pub mod tls;
pub mod training;
pub mod vision;
pub mod webhooks;
pub mod weights;
