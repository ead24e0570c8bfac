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
use crate::files::{io, is_filled};
use crate::terminal::show;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

#[derive(Args)]
pub struct MergeArgs {
    /// The base, a Hugging Face checkpoint.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// An adapter of that model: a folder of PEFT or MLX, or a GGUF file.
    #[arg(long, value_name = "DIR|FILE")]
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
    if is_filled(out) {
        return Err(setting("out", out.display(), "a folder that is empty or does not exist yet"));
    }
    fs::create_dir_all(out).map_err(|e| io(out, e))?;
    let written = write(&adapter, config, &base, model, out).await;
    match &written {
        Ok(()) => eprintln!("merged checkpoint written to {}", out.display()),
        Err(_) => clear(out, &base),
    }
    written
}

/// The weights get their names last, and their index after them, so that a folder with a file of that name is a whole
/// checkpoint.
async fn write(adapter: &AdapterFiles, config: &Config, base: &Source, model: &Path, out: &Path) -> Result<()> {
    let files = files(base);
    let mut parts = files.iter().map(|(name, bytes)| Part::create(out, name, *bytes)).collect::<Result<Vec<Part>>>()?;
    adapter.merge(config, base, &mut |bytes| fill(&mut parts, bytes)).await?;
    for part in parts {
        part.finish()?;
    }
    for name in COPIED {
        copy(name, model, out)?;
    }
    for (name, _) in &files {
        fs::rename(part_of(out, name), out.join(name)).map_err(|e| io(&out.join(name), e))?;
    }
    if base.shards.is_some() { copy(INDEX, model, out) } else { Ok(()) }
}

/// The files of the weights and their bytes. Merged, they are as long as before.
fn files(base: &Source) -> Vec<(String, u64)> {
    match &base.shards {
        Some(shards) => shards.files().map(|(name, bytes)| (name.to_string(), bytes)).collect(),
        None => vec![(WEIGHTS.to_string(), base.bytes)],
    }
}

/// A file of weights that is being written.
struct Part {
    path: PathBuf,
    file: BufWriter<File>,
    /// How many bytes it lacks.
    missing: u64,
}

impl Part {
    fn create(out: &Path, name: &str, missing: u64) -> Result<Part> {
        let path = part_of(out, name);
        let file = BufWriter::new(File::create(&path).map_err(|e| io(&path, e))?);
        Ok(Part { path, file, missing })
    }

    fn finish(self) -> Result<()> {
        let Part { path, file, .. } = self;
        file.into_inner().map_err(|e| e.into_error()).and_then(|file| file.sync_all()).map_err(|e| io(&path, e))
    }
}

fn part_of(out: &Path, name: &str) -> PathBuf {
    out.join(format!("{name}.part"))
}

/// Writes bytes into the first file that lacks some, and on into the next.
fn fill(parts: &mut [Part], mut bytes: &[u8]) -> Result<()> {
    for part in parts.iter_mut().filter(|part| part.missing > 0) {
        let (now, later) = bytes.split_at(part.missing.min(bytes.len() as u64) as usize);
        part.file.write_all(now).map_err(|e| io(&part.path, e))?;
        part.missing -= now.len() as u64;
        bytes = later;
    }
    assert!(bytes.is_empty(), "a merged checkpoint is as long as its base");
    Ok(())
}

/// Copies a file that need not be there.
fn copy(name: &str, model: &Path, out: &Path) -> Result<()> {
    if model.join(name).is_file() {
        fs::copy(model.join(name), out.join(name)).map_err(|e| io(&out.join(name), e))?;
    }
    Ok(())
}

/// The folder was empty before, so everything in it is half of something.
fn clear(out: &Path, base: &Source) {
    let weights = files(base).into_iter().flat_map(|(name, _)| [part_of(out, &name), out.join(name)]);
    for path in weights.chain(COPIED.iter().chain([&INDEX]).map(|name| out.join(name))) {
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_dir(out);
}
