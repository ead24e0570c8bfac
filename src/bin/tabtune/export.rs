//! `tabtune export`: an adapter in the form that another program reads. No device is needed, and no weights.

use std::path::PathBuf;

use clap::Args;
use tabtune::adapter::{AdapterFiles, Form};
use tabtune::error::{Error, Result};

use crate::base;
use crate::cli::setting;
use crate::files::{is_filled, write_whole};
use crate::terminal::show;

#[derive(Args)]
pub struct ExportArgs {
    /// The adapter, in any form.
    #[arg(long, value_name = "DIR|FILE")]
    adapter: PathBuf,
    /// The form: peft, gguf (llama.cpp) or mlx.
    #[arg(long, value_name = "FORMAT", value_parser = ["peft", "gguf", "mlx"], hide_possible_values = true)]
    format: String,
    /// For gguf a file, otherwise a folder that is empty or does not exist yet.
    #[arg(long, value_name = "FILE|DIR")]
    out: PathBuf,
    /// The adapter's base, of which config.json is enough [default: the embedded base]
    #[arg(long, value_name = "DIR|FILE")]
    model: Option<PathBuf>,
}

pub async fn export(args: &ExportArgs) -> Result<()> {
    let (form, out) = (Form::parse(&args.format)?, &args.out);
    let adapter = AdapterFiles::open(&args.adapter)?;
    let name = base::name(args.model.as_deref());
    if args.model.is_none() {
        let noted = adapter.noted_base(&name, &base::files(None).await?.weights.sha256().await?)?;
        if !noted.same_weights.unwrap_or(noted.same_name) {
            let base = noted.name;
            let reason = format!("the adapter's base is `{base}`, not the embedded one: give it with --model");
            return Err(Error::Usage { reason });
        }
    }
    let config = base::config(args.model.as_deref()).await?;
    show(&adapter.warnings(&config)?);
    let files = adapter.export(form, &config, &name)?;
    if form == Form::Gguf {
        let (Some(file), false) = (out.file_name().and_then(|name| name.to_str()), out.is_dir()) else {
            return Err(setting("out", out.display(), "the name of a file, which a GGUF adapter is"));
        };
        let dir = out.parent().unwrap_or(out);
        for (_, bytes) in files {
            write_whole(dir, file, &bytes)?;
        }
    } else {
        // The config of one form beside the tensors of another would be a broken adapter.
        if is_filled(out) {
            return Err(setting("out", out.display(), "a folder that is empty or does not exist yet"));
        }
        for (name, bytes) in files {
            write_whole(out, name, &bytes)?;
        }
    }
    eprintln!("adapter written to {}", out.display());
    Ok(())
}
