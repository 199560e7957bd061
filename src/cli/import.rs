//! `pawprint import`: a folder or an archive of photos into a dataset, which is made if need be.

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
    Ending, Session,
    answers::{Dataset, Rejected, Report},
    args::{ClientArgs, reference},
    pack,
    progress::Transfer,
    source::{Archive, Contents, Source},
};

const CHUNK: usize = 128 * 1024;

/// Options of `pawprint import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// Folder of photos, or a zip, tar or tar.gz of one: SPLIT/CLASS/*, CLASS/* or CLASS.*.jpg
    ///
    /// In a folder, hidden files are passed over.
    #[arg(value_name = "DIR|ARCHIVE")]
    source: PathBuf,

    /// Dataset to put them into; made if there is none of that name
    #[arg(long, value_name = "NAME", value_parser = reference)]
    dataset: String,

    /// Where the photos serve; `auto` goes by their folders, else spreads them 70/15/15
    #[arg(long, value_enum, default_value = "auto")]
    split: Split,

    /// Classes of a dataset that is made [default: cat,dog]
    #[arg(long, value_name = "CLASS,CLASS", value_delimiter = ',', value_parser = reference)]
    classes: Option<Vec<String>>,

    /// Follow links in the folder, also where they lead out of it
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

impl Import {
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<Ending> {
        let source = Source::open(&self.source, self.follow_links)?;
        let dataset = self.dataset(session).await?;
        let (report, contents) = match source {
            Source::Folder(contents) => {
                let images = contents.images;
                session.out.note(format_args!("sending {images} images to {}", dataset.name));
                (self.send_folder(session, contents.bytes).await?, contents)
            }
            Source::Archive(archive) => {
                (self.send_archive(session, archive).await?, Contents::default())
            }
        };
        show(session, &dataset, &report, &contents)?;
        lacking(session, &dataset.name).await;
        let nothing_wrong = report.rejected_total == 0 && report.duplicates > 0;
        if report.added > 0 || nothing_wrong {
            return Ok(Ending::Success);
        }
        bail!("nothing could be added to {}", dataset.name)
    }

    /// The dataset, made if there is none of that name.
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
                "{} has the classes {}, and a dataset's classes can't be changed",
                dataset.name,
                dataset.classes.join(", ")
            ),
            _ => Ok(dataset),
        }
    }

    async fn send_folder(&self, session: &Session, bytes: u64) -> anyhow::Result<Report> {
        let transfer = Arc::new(Transfer::new(session.out, bytes));
        let (chunks, packing) =
            pack::pack(self.source.clone(), self.follow_links, Arc::clone(&transfer));
        let answer = self.send(session, "application/x-tar", None, Body::wrap_stream(chunks)).await;
        transfer.clear();
        let unreadable = match packing.await.context("packing the folder broke off")? {
            // The server had heard enough; what it says is the result.
            Err(error) if pack::is_abandoned(&error) => Vec::new(),
            packed => packed.with_context(|| format!("can't pack {}", self.source.display()))?,
        };
        let mut report = answer?;
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
        let answer = self.send(session, media_type, bytes, Body::wrap_stream(chunks)).await;
        transfer.clear();
        answer
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
            .unhurried(Method::POST, &["datasets", &self.dataset, "archive"])
            .query(&[("split", self.split)])
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

/// Notes what a dataset still lacks to be trained on. It is only advice: where the server can't
/// be asked any more, there is none.
async fn lacking(session: &Session, name: &str) {
    let request = session.client.request(Method::GET, &["datasets", name]);
    let Ok(Dataset { classes, counts, .. }) = session.client.json(request).await else { return };
    if counts.values().flat_map(BTreeMap::values).all(|&count| count == 0) {
        let remove = format_args!("`pawprint datasets delete {name}` removes it");
        session.out.note(format_args!("{name} is empty; {remove}"));
        return;
    }
    let lacks: Vec<_> = ["train", "validation"]
        .into_iter()
        .flat_map(|split| classes.iter().map(move |class| (split, class)))
        .filter(|(split, class)| {
            counts.get(*split).and_then(|of| of.get(*class)).is_none_or(|&count| count == 0)
        })
        .map(|(split, class)| format!("{class} in {split}"))
        .collect();
    if !lacks.is_empty() {
        let lacks = lacks.join(", ");
        session.out.note(format_args!("{name} can't be trained on yet: it has no {lacks}"));
    }
}

fn show(
    session: &Session,
    dataset: &Dataset,
    report: &Report,
    contents: &Contents,
) -> anyhow::Result<()> {
    let out = session.out;
    let Contents { others, links, .. } = contents;
    let Report { added, duplicates, rejected, rejected_total } = report;
    if out.is_json() {
        return out.document(&json!({
            "dataset": dataset.name,
            "added": added,
            "duplicates": duplicates,
            "rejected": rejected,
            "rejected_total": rejected_total,
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
    if *others > 0 {
        out.note(format_args!("files not sent because they are not named like images: {others}"));
    }
    if *links > 0 {
        out.note(format_args!("links not followed: {links} (--follow-links follows them)"));
    }
    Ok(())
}
