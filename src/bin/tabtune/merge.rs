//! `tabtune merge`: a checkpoint with an adapter merged into it, streamed from folder to folder or into a GGUF file. No
//! device is needed.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;
use tabtune::adapter::{AdapterFiles, Merge};
use tabtune::error::{Error, Result};
use tabtune::files::Source;
use tabtune::model::Config;
use tabtune::run::{MergeOptions, Merged, ModelFolder, files_of};

use crate::base::{self, COPIED};
use crate::cli::setting;
use crate::files::{io, is_filled, same_file};
use crate::terminal::show;

const INDEX: &str = "model.safetensors.index.json";

/// How the name of a GGUF file ends.
const GGUF: &str = "gguf";

#[derive(Args)]
pub struct MergeArgs {
    /// The base: a Hugging Face checkpoint or a GGUF file [default with --type, or if --out is a GGUF file: the
    /// embedded base]
    #[arg(long, value_name = "DIR|FILE")]
    model: Option<PathBuf>,
    /// An adapter of that model: a folder of PEFT or MLX, or a GGUF file. Without it, a GGUF file of the base itself is
    /// written.
    #[arg(long, value_name = "DIR|FILE")]
    adapter: Option<PathBuf>,
    /// A folder that is empty or does not exist yet, or a file whose name ends in .gguf.
    #[arg(long, value_name = "DIR|FILE.gguf")]
    out: PathBuf,
    /// The matrices of a GGUF file: f32, f16 or q8_0 [default: f16]. All numbers of a checkpoint: f32 or f16 [default:
    /// as the base has them, or f16 from a GGUF file]
    #[arg(long = "type", value_name = "TYPE", value_parser = ["f32", "f16", "q8_0"], hide_possible_values = true)]
    kind: Option<String>,
    /// A factor on the adapter.
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    strength: f64,
}

pub async fn merge(args: &MergeArgs) -> Result<()> {
    if args.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(GGUF)) {
        return to_gguf(args).await;
    }
    let usage = |reason: &str| Err(Error::Usage { reason: reason.to_string() });
    match (&args.model, &args.adapter) {
        (Some(model), Some(adapter)) if args.kind.is_none() && model.is_dir() => to_folder(model, adapter, args).await,
        (model, Some(adapter)) if args.kind.is_some() || model.is_some() => {
            in_another_type(model.as_deref(), adapter, args).await
        }
        _ => usage(
            "a folder is written from --adapter, and from --model or with --type; a GGUF file, `--out NAME.gguf`, \
             needs neither",
        ),
    }
}

async fn to_gguf(args: &MergeArgs) -> Result<()> {
    let (model, out) = (args.model.as_deref(), &args.out);
    if out.is_dir() {
        return Err(setting("out", out.display(), "the name of a file, where there is no folder"));
    }
    let replaces = |path: &Path| same_file(path, out) || same_file(path, &part_of(out));
    if [model, args.adapter.as_deref()].into_iter().flatten().any(replaces) {
        return Err(setting("out", out.display(), "another file than --model and --adapter, which it would replace"));
    }
    let (files, name) = (base::files(model).await?, base::name(model));
    let adapter = args.adapter.as_deref().map(AdapterFiles::open).transpose()?;
    if let Some(adapter) = &adapter {
        show(&adapter.warnings(&Config::parse(&files.config)?)?);
        say_if_other_base(adapter, &name, &files.weights).await?;
    }
    let kind = args.kind.as_deref().unwrap_or("f16");
    let gguf = files.gguf(&name, adapter.as_ref().map(|adapter| (adapter, args.strength)), kind).await?;
    show(&gguf.warnings);
    if let Some(folder) = out.parent() {
        fs::create_dir_all(folder).map_err(|e| io(folder, e))?;
    }
    let mut part = Part::create(out)?;
    let written = gguf.write(&mut |bytes| part.write(bytes)).await;
    match written.and_then(|()| part.finish()).and_then(|()| rename(out)) {
        Ok(()) => {
            eprintln!("GGUF file written to {}", out.display());
            Ok(())
        }
        Err(error) => {
            let _ = fs::remove_file(part_of(out));
            Err(error)
        }
    }
}

/// A checkpoint whose numbers are in one format, from whatever kind of base.
async fn in_another_type(model: Option<&Path>, adapter: &Path, args: &MergeArgs) -> Result<()> {
    let out = &args.out;
    let (files, name, adapter) = (base::files(model).await?, base::name(model), AdapterFiles::open(adapter)?);
    let options = MergeOptions { strength: args.strength, format: "safetensors".to_string(), kind: args.kind.clone() };
    let merged = files.merged(&name, &adapter, &options).await?;
    show(&merged.warnings);
    say_if_other_base(&adapter, &name, &files.weights).await?;
    refuse_filled(out)?;
    let written = write_files(&merged, out).await;
    match &written {
        Ok(()) => eprintln!("merged checkpoint written to {}", out.display()),
        Err(_) => clear(out, merged.files().map(|(name, _)| name.to_string())),
    }
    written
}

async fn write_files(merged: &Merged<'_>, out: &Path) -> Result<()> {
    fs::create_dir_all(out).map_err(|e| io(out, e))?;
    for (name, _) in merged.files() {
        let path = out.join(name);
        let mut part = Part::create(&path)?;
        merged.write(name, &mut |bytes| part.write(bytes)).await?;
        part.finish()?;
        rename(&path)?;
    }
    Ok(())
}

fn refuse_filled(out: &Path) -> Result<()> {
    let expected = "a folder that is empty or does not exist yet";
    if is_filled(out) { Err(setting("out", out.display(), expected)) } else { Ok(()) }
}

/// Hashing a large base takes a while, and without a hash to compare with it is not needed.
async fn say_if_other_base(adapter: &AdapterFiles, name: &str, base: &Source) -> Result<()> {
    let sha256 = if adapter.origin()?.base_sha256.is_some() { base.sha256().await? } else { String::new() };
    show(adapter.other_base(name, &sha256)?.as_slice());
    Ok(())
}

async fn to_folder(model: &Path, adapter: &Path, args: &MergeArgs) -> Result<()> {
    let out = &args.out;
    let folder = ModelFolder::open(model)?;
    let adapter = AdapterFiles::open(adapter)?;
    let (config, base) = (&folder.config, folder.weights()?);
    show(&adapter.warnings(config)?);
    say_if_other_base(&adapter, &model.display().to_string(), &base).await?;
    refuse_filled(out)?;
    let merge = adapter.merge(config, &base, args.strength).await?;
    fs::create_dir_all(out).map_err(|e| io(out, e))?;
    let written = write(&merge, &base, model, out).await;
    match &written {
        Ok(()) => eprintln!("merged checkpoint written to {}", out.display()),
        Err(_) => {
            let others = COPIED.iter().chain([&INDEX]).map(|name| name.to_string());
            clear(out, files_of(&base).into_iter().map(|(name, _)| name).chain(others));
        }
    }
    written
}

/// The weights get their names last, and their index after them, so that a folder with a file of that name is a whole
/// checkpoint.
async fn write(merge: &Merge<'_>, base: &Source, model: &Path, out: &Path) -> Result<()> {
    let files = files_of(base);
    let mut begin = 0;
    for (name, bytes) in &files {
        let mut part = Part::create(&out.join(name))?;
        let end = begin + bytes;
        merge.write(begin, end, &mut |bytes| part.write(bytes)).await?;
        part.finish()?;
        begin = end;
    }
    for name in COPIED {
        copy(name, model, out)?;
    }
    for (name, _) in &files {
        rename(&out.join(name))?;
    }
    if base.shards.is_some() { copy(INDEX, model, out) } else { Ok(()) }
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

/// Copies a file that need not be there.
fn copy(name: &str, model: &Path, out: &Path) -> Result<()> {
    if model.join(name).is_file() {
        fs::copy(model.join(name), out.join(name)).map_err(|e| io(&out.join(name), e))?;
    }
    Ok(())
}

/// The folder was empty before, so everything in it is half of something.
fn clear(out: &Path, names: impl Iterator<Item = String>) {
    for path in names.flat_map(|name| [part_of(&out.join(&name)), out.join(name)]) {
        let _ = fs::remove_file(path);
    }
    let _ = fs::remove_dir(out);
}
