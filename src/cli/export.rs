//! `pawprint export`: a model for the runtimes of others, of a server or of a local model file.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, anyhow};
use clap::{Args, ValueEnum};
use reqwest::Method;

use super::{
    ExitStatus, Session,
    args::{ClientArgs, reference},
    output::Output,
};
use crate::onnx;

/// Options of `pawprint export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Name or id of a model on the server, or a local model file (no server needed)
    ///
    /// A value ending in `.safetensors` is a local file.
    #[arg(value_name = "MODEL|FILE.safetensors")]
    model: String,

    /// Write ONNX
    #[arg(long, required = true)]
    onnx: bool,

    /// What the exported model takes
    #[arg(long, value_enum, default_value_t = Input::Image)]
    input: Input,

    /// Output file; `-` for standard output. Default: the name of the model, with `.onnx`
    #[arg(short, long, value_name = "FILE")]
    out: Option<PathBuf>,

    #[command(flatten)]
    pub(super) client: ClientArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Input {
    /// One photo of any size: RGB bytes, height × width × 3
    Image,
    /// Photos that are resized already: RGB bytes, n × height × width × 3
    Tensor,
}

impl Export {
    /// The model file, if one is named.
    pub(super) fn model_file(&self) -> Option<&Path> {
        Some(Path::new(&self.model)).filter(|_| self.model.ends_with(".safetensors"))
    }

    /// Exports a model file.
    pub(super) fn run_local(&self, model: &Path, out: Output) -> anyhow::Result<ExitStatus> {
        let input = match self.input {
            Input::Image => onnx::Input::Image,
            Input::Tensor => onnx::Input::Tensor,
        };
        let file = onnx::export(model, None, input)?;
        let name = model.file_stem().unwrap_or_default().to_string_lossy();
        self.write(&name, out, |to| file.write_to(to))
    }

    /// Exports a model of the server.
    pub(super) async fn run(&self, session: &Session) -> anyhow::Result<ExitStatus> {
        reference(&self.model).map_err(|detail| anyhow!("{}: {detail}", self.model))?;
        let input = match self.input {
            Input::Image => "image",
            Input::Tensor => "tensor",
        };
        let request = session
            .client
            .request_without_timeout(Method::GET, &["models", &self.model, "export"])
            .query(&[("format", "onnx"), ("input", input)]);
        let bytes = session.client.bytes(request).await?;
        self.write(&self.model, session.out, |to| to.write_all(&bytes))
    }

    /// Writes the file of the model of that name; an existing one is replaced when all is written.
    fn write(
        &self,
        name: &str,
        out: Output,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> anyhow::Result<ExitStatus> {
        let path = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.onnx")));
        if path.as_os_str() == "-" {
            write(&mut io::stdout().lock())?;
            return Ok(ExitStatus::Success);
        }
        let partial = path.with_added_extension("partial");
        let written = File::create(&partial).and_then(|file| {
            let mut file = BufWriter::new(file);
            write(&mut file)?;
            file.flush()?;
            fs::rename(&partial, &path)
        });
        if written.is_err() {
            // Frees space on a full disk.
            let _ = fs::remove_file(&partial);
        }
        written.with_context(|| format!("can't write {}", path.display()))?;
        out.note(format_args!("wrote {}", path.display()));
        Ok(ExitStatus::Success)
    }
}
