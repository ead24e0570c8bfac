//! `tabtune merge`: a checkpoint with an adapter merged into it, streamed from folder to folder or into a GGUF file. No
//! device is needed.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use tabtune::adapter::AdapterFiles;
use tabtune::error::{Error, Result};
use tabtune::files::Source;
use tabtune::model::Config;
use tabtune::run::ModelFolder;

use crate::base::{self, COPIED};
use crate::cli::setting;
use crate::files::{io, is_filled, same_file};
use crate::terminal::show;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// How the name of a GGUF file ends.
const GGUF: &str = "gguf";

#[derive(Args)]
pub struct MergeArgs {
    /// The base: a Hugging Face checkpoint. If --out is a GGUF file, also such a file [default then: the embedded base]
    #[arg(long, value_name = "DIR|FILE")]
    model: Option<PathBuf>,
    /// An adapter of that model: a folder of PEFT or MLX, or a GGUF file. Without it, a GGUF file of the base itself is
    /// written.
    #[arg(long, value_name = "DIR|FILE")]
    adapter: Option<PathBuf>,
    /// A folder that is empty or does not exist yet, or a file whose name ends in .gguf.
    #[arg(long, value_name = "DIR|FILE.gguf")]
    out: PathBuf,
    /// The matrices of a GGUF file: f32, f16 or q8_0 [default: f16]
    #[arg(long = "type", value_name = "TYPE", value_parser = ["f32", "f16", "q8_0"], hide_possible_values = true)]
    kind: Option<String>,
}

pub async fn merge(args: &MergeArgs) -> Result<()> {
    if args.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(GGUF)) {
        return to_gguf(args).await;
    }
    let usage = |reason: &str| Err(Error::Usage { reason: reason.to_string() });
    match (&args.model, &args.adapter) {
        _ if args.kind.is_some() => usage("--type is that of a GGUF file, whose name --out ends in .gguf"),
        (Some(model), Some(adapter)) => to_folder(model, adapter, &args.out).await,
        _ => usage("a folder is written from --model and --adapter; a GGUF file, `--out NAME.gguf`, needs neither"),
    }
}

async fn to_gguf(args: &MergeArgs) -> Result<()> {
    let (model, out) = (args.model.as_deref(), &args.out);
    if out.is_dir() {
        return Err(setting("out", out.display(), "the name of a file, where there is no folder"));
    }
    if [model, args.adapter.as_deref()].into_iter().flatten().any(|path| same_file(path, out)) {
        return Err(setting("out", out.display(), "another file than --model and --adapter, which it would replace"));
    }
    let (files, name) = (base::files(model).await?, base::name(model));
    let adapter = args.adapter.as_deref().map(AdapterFiles::open).transpose()?;
    if let Some(adapter) = &adapter {
        show(&adapter.warnings(&Config::parse(&files.config)?)?);
        say_if_other_base(adapter, &name, &files.weights).await?;
    }
    let kind = args.kind.as_deref().unwrap_or("f16");
    let mut part = Part::create(out)?;
    let written = files.write_gguf(&name, adapter.as_ref(), kind, &mut |bytes| part.write(bytes)).await;
    match written.and_then(|warnings| part.finish().and_then(|()| rename(out)).map(|()| warnings)) {
        Ok(warnings) => {
            show(&warnings);
            eprintln!("GGUF file written to {}", out.display());
            Ok(())
        }
        Err(error) => {
            let _ = fs::remove_file(part_of(out));
            Err(error)
        }
    }
}

/// Hashing a large base takes a while, and without a hash to compare with it is not needed.
async fn say_if_other_base(adapter: &AdapterFiles, name: &str, base: &Source) -> Result<()> {
    let sha256 = if adapter.origin()?.base_sha256.is_some() { base.sha256().await? } else { String::new() };
    show(adapter.other_base(name, &sha256)?.as_slice());
    Ok(())
}

async fn to_folder(model: &Path, adapter: &Path, out: &Path) -> Result<()> {
    let folder = ModelFolder::open(model)?;
    let adapter = AdapterFiles::open(adapter)?;
    let (config, base) = (&folder.config, folder.weights()?);
    show(&adapter.warnings(config)?);
    say_if_other_base(&adapter, &model.display().to_string(), &base).await?;
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
    let parts = files.iter().map(|(name, bytes)| Ok((Part::create(&out.join(name))?, *bytes)));
    let mut parts = parts.collect::<Result<Vec<(Part, u64)>>>()?;
    adapter.merge(config, base, &mut |bytes| fill(&mut parts, bytes)).await?;
    for (part, _) in parts {
        part.finish()?;
    }
    for name in COPIED {
        copy(name, model, out)?;
    }
    for (name, _) in &files {
        rename(&out.join(name))?;
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
}

impl Part {
    fn create(path: &Path) -> Result<Part> {
        let path = part_of(path);
        let file = BufWriter::new(File::create(&path).map_err(|e| io(&path, e))?);
        Ok(Part { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| io(&self.path, e))
    }

    fn finish(self) -> Result<()> {
        let Part { path, file } = self;
        file.into_inner().map_err(|e| e.into_error()).and_then(|file| file.sync_all()).map_err(|e| io(&path, e))
    }
}

/// What a file is called until it is whole.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn rename(path: &Path) -> Result<()> {
    fs::rename(part_of(path), path).map_err(|e| io(path, e))
}

/// Writes bytes into the first file that lacks some, and on into the next. Each is given with how many it lacks.
fn fill(parts: &mut [(Part, u64)], mut bytes: &[u8]) -> Result<()> {
    for (part, missing) in parts.iter_mut().filter(|(_, missing)| *missing > 0) {
        let (now, later) = bytes.split_at((*missing).min(bytes.len() as u64) as usize);
        part.write(now)?;
        *missing -= now.len() as u64;
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
    let weights = files(base).into_iter().flat_map(|(name, _)| [part_of(&out.join(&name)), out.join(name)]);
    for path in weights.chain(COPIED.iter().chain([&INDEX]).map(|name| out.join(name))) {
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_dir(out);
}
