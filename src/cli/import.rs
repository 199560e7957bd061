//! `pawprint import`: imports a folder or an archive of images into a dataset, which is created if
//! it does not exist.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use futures::TryStreamExt as _;
use reqwest::{
    Body, Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use serde::Serialize;
use serde_json::json;
use tokio_util::io::ReaderStream;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    client, datasets, pack,
    progress::Transfer,
    responses::{Dataset, Ignored, Rejected, Report, gaps},
    source::{Archive, Contents, Folder, Source},
};
use crate::{datasets::layout, domain::dataset::Classes};

const CHUNK: usize = 128 * 1024;

/// Options of `pawprint import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// Folder or zip, tar or tar.gz archive of images: SPLIT/CLASS/*, CLASS/* or CLASS.*.jpg
    ///
    /// A folder gives the same result as an archive of its contents. Its own name counts too if it
    /// names a split or a class: `pawprint import photos/train` adds to the train split. In a
    /// dataset without fixed classes it also names the class of images directly in it. Hidden files
    /// and system files are ignored and counted.
    #[arg(value_name = "DIR|ARCHIVE")]
    source: PathBuf,

    /// Target dataset; created if it does not exist
    #[arg(long, value_name = "NAME", value_parser = reference)]
    dataset: String,

    /// Split for the images; `auto` uses folder names, otherwise 70/15/15 by content hash
    #[arg(long, value_enum, default_value = "auto")]
    split: Split,

    /// Fixed classes for a new dataset; by default the folders make its classes
    #[arg(long, value_name = "CLASS,CLASS", value_delimiter = ',')]
    classes: Option<Vec<String>>,

    /// What names the class of an image: its folders, the word before the number in its file name, or
    /// nothing: the images are unlabelled, and `pawprint review` says which to label next
    #[arg(long, value_enum, default_value = "folders")]
    labels: Labels,

    /// Follow symbolic links, including those that leave the folder
    #[arg(long)]
    follow_links: bool,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Split {
    Auto,
    Train,
    Validation,
    Test,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Labels {
    Folders,
    Names,
    None,
}

impl Import {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        let source = Source::open(&self.source, self.follow_links)?;
        let dataset = self.dataset(session).await?;
        let (report, contents) = match source {
            Source::Folder(folder) => {
                let contents = folder.contents;
                let images = contents.images;
                session.out.note(format_args!("uploading {images} images to {}", dataset.name));
                (self.send_folder(session, &dataset, folder).await, contents)
            }
            Source::Archive(archive) => {
                (self.send_archive(session, archive).await, Contents::default())
            }
        };
        let report = match report {
            Ok(report) => report,
            Err(error) => {
                // Images added before an archive turned out to be damaged are kept.
                if let Some(report) = partial_report(&error) {
                    show(session, &dataset, &report, &contents)?;
                }
                return Err(error);
            }
        };
        show(session, &dataset, &report, &contents)?;
        note_gaps(session, &dataset.name).await;
        // A folder that was uploaded before may well contain other files beside its images.
        let no_images = contents.others + contents.links;
        let nothing_wrong = report.duplicates > 0 && report.rejected_total <= no_images;
        if report.added > 0 || nothing_wrong {
            return Ok(ExitStatus::Success);
        }
        bail!("no images were added to {}", dataset.name)
    }

    /// The dataset, created if it does not exist.
    async fn dataset(&self, session: &Session) -> anyhow::Result<Dataset> {
        let client = &session.client;
        let path = ["datasets", &self.dataset];
        let dataset: Dataset = match client.json(client.request(Method::GET, &path)).await {
            Err(error) if error.is_not_found() => {
                let mut body = json!({ "name": self.dataset });
                if let Some(classes) = &self.classes {
                    body["classes"] = json!(classes);
                }
                return Ok(client
                    .json(client.request(Method::POST, &path[..1]).json(&body))
                    .await?);
            }
            found => found?,
        };
        match &self.classes {
            Some(classes) if *classes != dataset.classes => bail!(
                "dataset {} already exists with classes {}; leave out --classes, or change them with `pawprint datasets classes {}`",
                dataset.name,
                dataset.classes.join(", "),
                dataset.name
            ),
            _ => Ok(dataset),
        }
    }

    async fn send_folder(
        &self,
        session: &Session,
        dataset: &Dataset,
        folder: Folder,
    ) -> anyhow::Result<Report> {
        let transfer = Arc::new(Transfer::new(session.out, folder.contents.bytes));
        let names = dataset.classes.iter().map(|name| name.parse());
        let classes =
            names.collect::<Result<Vec<_>, _>>().ok().and_then(|it| Classes::of_dataset(it).ok());
        let classes = classes.unwrap_or_default();
        let names_class = dataset.open && folder.contents.in_folders == 0;
        let top = pack::own_name(&folder.path, |name| {
            names_class || layout::names_split_or_class(name, &classes)
        });
        let (chunks, packing) = pack::pack(folder, top, Arc::clone(&transfer));
        let response =
            self.send(session, "application/x-tar", None, Body::wrap_stream(chunks)).await;
        transfer.clear();
        let unreadable = match packing.await.context("packing the folder was interrupted")? {
            // The server has stopped reading; its response is the result.
            Err(error) if pack::is_abandoned(&error) => Vec::new(),
            packed => packed.with_context(|| format!("can't pack {}", self.source.display()))?,
        };
        let mut report = response?;
        report.rejected_total += unreadable.len() as u64;
        report.rejected.extend(unreadable);
        Ok(report)
    }

    async fn send_archive(&self, session: &Session, archive: Archive) -> anyhow::Result<Report> {
        let Archive { file, bytes, media_type } = archive;
        let transfer = Arc::new(Transfer::new(session.out, bytes.unwrap_or(0)));
        let counter = Arc::clone(&transfer);
        let chunks = ReaderStream::with_capacity(tokio::fs::File::from_std(file), CHUNK)
            .inspect_ok(move |chunk| counter.advance(chunk.len() as u64));
        let response = self.send(session, media_type, bytes, Body::wrap_stream(chunks)).await;
        transfer.clear();
        response
    }

    async fn send(
        &self,
        session: &Session,
        media_type: &str,
        length: Option<u64>,
        body: Body,
    ) -> anyhow::Result<Report> {
        let client = &session.client;
        let mut request = client
            .request_without_timeout(Method::POST, &["datasets", &self.dataset, "archive"])
            .query(&[("split", self.split)])
            .query(&(self.labels != Labels::Folders).then_some([("labels", self.labels)]))
            .header(CONTENT_TYPE, media_type)
            .body(body);
        if let Some(length) = length {
            request = request.header(CONTENT_LENGTH, length);
        }
        let mut report: Report = client.json(request).await?;
        report.rejected_total = report.rejected_total.max(report.rejected.len() as u64);
        Ok(report)
    }
}

/// The report of the files before an error, if the problem contains one.
fn partial_report(error: &anyhow::Error) -> Option<Report> {
    let Some(client::Error::Problem(problem)) = error.downcast_ref() else { return None };
    serde_json::from_value(problem.body.clone()).ok()
}

/// Notes what a dataset still lacks for training and evaluation. This is only advice: there is none
/// if the server can't be reached any more.
async fn note_gaps(session: &Session, name: &str) {
    let request = session.client.request(Method::GET, &["datasets", name]);
    let Ok(dataset) = session.client.json::<Dataset>(request).await else { return };
    if dataset.counts.values().flat_map(BTreeMap::values).all(|&count| count == 0) {
        let remove = format_args!("delete it with `pawprint datasets delete {name}`");
        session.out.note(format_args!("{name} is empty; {remove}"));
        return;
    }
    if dataset.open && !session.out.is_json() {
        session.out.note(found(&dataset));
    }
    datasets::note_gaps(session, name, &gaps(&dataset.classes, &dataset.counts));
}

/// The classes of a dataset, and how many images its splits have.
fn found(dataset: &Dataset) -> String {
    let of = |split| dataset.counts.get(split).map_or(0, |of| of.values().sum::<u64>());
    let classes = if dataset.classes.len() == 1 { "class" } else { "classes" };
    let named = dataset.classes.iter().take(10).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "{} has {} {classes}: {named}{}; {} training, {} validation and {} test images",
        dataset.name,
        dataset.classes.len(),
        if dataset.classes.len() > 10 { ", …" } else { "" },
        of("train"),
        of("validation"),
        of("test")
    )
}

fn show(
    session: &Session,
    dataset: &Dataset,
    report: &Report,
    contents: &Contents,
) -> anyhow::Result<()> {
    let out = session.out;
    let Contents { others, links, .. } = contents;
    let Report { added, duplicates, rejected, rejected_total, ignored } = report;
    if out.is_json() {
        return out.document(&json!({
            "dataset": dataset.name,
            "added": added,
            "duplicates": duplicates,
            "rejected": rejected,
            "rejected_total": rejected_total,
            "ignored": ignored,
            "not_images": others,
            "links_not_followed": links,
        }));
    }
    out.line(format_args!(
        "{}: {added} added, {duplicates} duplicates, {rejected_total} rejected",
        dataset.name
    ))?;
    for Rejected { file, code, detail } in rejected {
        out.line(format_args!("  {file}: {detail} ({code})"))?;
    }
    let unnamed = rejected_total.saturating_sub(rejected.len() as u64);
    if unnamed > 0 {
        out.line(format_args!("  and {unnamed} more"))?;
    }
    if let Some(ignored) = ignored.sentence() {
        out.line(format_args!("  {ignored}"))?;
    }
    if *links > 0 {
        out.note(format_args!(
            "symbolic links skipped: {links} (include them with --follow-links)"
        ));
    }
    Ok(())
}

impl Ignored {
    /// The number of ignored files, and some of them; `None` if there are none.
    fn sentence(&self) -> Option<String> {
        let Self { count, examples } = self;
        let files = if *count == 1 { "file" } else { "files" };
        let some = examples[..examples.len().min(3)].join(", ");
        match count {
            0 => None,
            _ if some.is_empty() => Some(format!("{count} {files} ignored")),
            1..=3 => Some(format!("{count} {files} ignored: {some}")),
            _ => Some(format!("{count} {files} ignored, such as {some}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_files_are_counted_and_some_named() {
        let sentence = |count, examples: &[&str]| {
            let examples = examples.iter().map(ToString::to_string).collect();
            Ignored { count, examples }.sentence()
        };
        assert_eq!(sentence(0, &[]), None);
        assert_eq!(sentence(1, &[".DS_Store"]).unwrap(), "1 file ignored: .DS_Store");
        let many = sentence(12, &["a", "b", "c", "d"]).unwrap();
        assert_eq!(many, "12 files ignored, such as a, b, c");
    }
}
