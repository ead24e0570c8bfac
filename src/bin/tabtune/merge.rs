//! `tabtune merge`: a checkpoint with an adapter merged into it, streamed from folder to folder. No device is needed.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use tabtune::adapter::AdapterFiles;
use tabtune::error::Result;
use tabtune::files::Source;
use tabtune::model::Config;
use tabtune::run::ModelFolder;

use crate::base::COPIED;
use crate::cli::setting;
use crate::files::io;
use crate::terminal::show;

const WEIGHTS: &str = "model.safetensors";
const PART: &str = "model.safetensors.part";

#[derive(Args)]
pub struct MergeArgs {
    /// The base, a Hugging Face checkpoint.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// An adapter of that model.
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,
    /// A folder that is empty or does not exist yet.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

pub async fn merge(args: &MergeArgs) -> Result<()> {
    let (model, out) = (&args.model, &args.out);
    let folder = ModelFolder::open(model)?;
    let adapter = AdapterFiles::open(&args.adapter)?;
    let (config, base) = (&folder.config, folder.weights()?);
    show(&adapter.warnings(config)?);
    // Hashing a large base takes a while, and without a hash to compare with it is not needed.
    let sha256 = if adapter.origin()?.base_sha256.is_some() { base.sha256().await? } else { String::new() };
    show(adapter.other_base(&model.display().to_string(), &sha256)?.as_slice());
    if fs::read_dir(out).map_or(out.exists(), |mut entries| entries.next().is_some()) {
        return Err(setting("out", out.display(), "a folder that is empty or does not exist yet"));
    }
    fs::create_dir_all(out).map_err(|e| io(out, e))?;
    let written = write(&adapter, config, &base, model, out).await;
    match &written {
        Ok(()) => eprintln!("merged checkpoint written to {}", out.display()),
        Err(_) => clear(out),
    }
    written
}

/// The weights get their name last, so that a folder with a file of that name is a whole checkpoint.
async fn write(adapter: &AdapterFiles, config: &Config, base: &Source, model: &Path, out: &Path) -> Result<()> {
    let (path, part) = (out.join(WEIGHTS), out.join(PART));
    let failed = |e| io(&part, e);
    let mut file = BufWriter::new(File::create(&part).map_err(failed)?);
    adapter.merge(config, base, &mut |bytes| file.write_all(bytes).map_err(failed)).await?;
    file.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)?;
    for name in COPIED.iter().filter(|name| model.join(name).is_file()) {
        fs::copy(model.join(name), out.join(name)).map_err(|e| io(&out.join(name), e))?;
    }
    fs::rename(&part, &path).map_err(|e| io(&path, e))
}

/// The folder was empty before, so everything in it is half of something.
fn clear(out: &Path) {
    for name in COPIED.iter().chain([&PART]) {
        let _ = fs::remove_file(out.join(name));
    }
    let _ = fs::remove_dir(out);
}
