//! `tabtune info`: what a model, an adapter or a text is.

use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use tabtune::adapter::AdapterFiles;
use tabtune::error::Result;
use tabtune::model::Storage;
use tabtune::run::{Base, Memory, Room, Settings};
use tabtune::text::{Columns, NATIVE_LIMIT, Row};

use crate::cli::{ColumnArgs, ModelArgs};
use crate::terminal::{print, show};
use crate::{files, preview};

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["model", "adapter", "data"]))]
pub struct InfoArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// An adapter: a folder of PEFT or MLX, or a GGUF file.
    #[arg(long, value_name = "DIR|FILE")]
    adapter: Option<PathBuf>,
    /// Texts: how many rows they make, and the first rows token by token.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data: Vec<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    /// With --model: say whether a run fits into so many bytes on the device, and what would.
    #[arg(long, value_name = "BYTES", requires = "model")]
    memory_limit: Option<u64>,
}

pub async fn info(args: InfoArgs) -> Result<()> {
    let base = args.model.load().await?;
    // Printed at the end, so that an error leaves standard output empty.
    let mut lines = Vec::new();
    if args.model.model.is_some() {
        lines.extend(about_model(&base, &args).await?);
    }
    if let Some(dir) = &args.adapter {
        lines.push(about_adapter(&base, dir)?);
    }
    if !args.data.is_empty() {
        lines.extend(about_text(&base, &args.data, &args.columns.columns()?)?);
    }
    lines.push(String::new());
    print(&lines.join("\n"))
}

async fn about_model(base: &Base, args: &InfoArgs) -> Result<Vec<String>> {
    let (config, device) = (&base.model.config, &base.model.device);
    let mut lines = vec![
        format!(
            "{}: {} with {} parameters, {} layers, hidden size {}, {} tokens in the vocabulary, context {}",
            base.name,
            config.family.model_type,
            config.parameters(),
            config.layers,
            config.hidden,
            config.vocabulary,
            config.context
        ),
        format!("weights on the device: {} bytes; device: {}", base.model.weight_bytes(), device.name),
    ];
    let unloaded = args.model.unloaded(device, Storage::default()).await?;
    for (lean, checkpointing) in [(false, false), (true, false), (true, true)] {
        let settings = Settings { lean, checkpointing, ..Settings::defaults(config, device.software) };
        lines.push(about_memory(&settings, unloaded.memory(&settings).await));
    }
    if let Some(limit) = args.memory_limit {
        let settings = Settings::defaults(config, device.software);
        lines.push(match unloaded.check(&settings, Room::Bytes(limit)).await {
            Ok(()) => format!("a run with the default settings fits into {limit} bytes"),
            Err(error) => error.to_string(),
        });
    }
    Ok(lines)
}

fn about_memory(settings: &Settings, memory: Result<Memory>) -> String {
    let Settings { batch, seq_len, rank, lean, checkpointing, .. } = settings;
    let flags = [(" and --lean", *lean), (" and --checkpointing", *checkpointing)];
    let also: String = flags.into_iter().filter_map(|(flag, is_set)| is_set.then_some(flag)).collect();
    let a_run = format!("a run with the default settings (batch {batch}, length {seq_len}, rank {rank}){also}");
    match memory {
        Ok(memory) => {
            let Memory { weights, rope, adapter, activations, logits, cache, other } = memory;
            let parts = [
                ("weights", weights),
                ("rope", rope),
                ("adapter", adapter),
                ("activations", activations),
                ("logits", logits),
                ("cache", cache),
                ("other", other),
            ];
            let parts: Vec<String> = parts.iter().map(|(part, bytes)| format!("{part} {bytes}")).collect();
            format!("device memory of {a_run}: about {} bytes ({})", memory.total(), parts.join(", "))
        }
        Err(error) => format!("{a_run} is not possible: {error}"),
    }
}

fn about_adapter(base: &Base, dir: &Path) -> Result<String> {
    let files = AdapterFiles::open(dir)?;
    let (adapter, _) = base.read_adapter(&files)?;
    let weights = files.origin()?.weights.map(|storage| match storage {
        Storage::AsFile => "; trained on weights as they are in their file".to_string(),
        storage => format!("; trained on weights in {}", storage.name()),
    });
    show(&adapter.warnings);
    let targets = adapter.spec.target_names(&base.model.config);
    Ok(format!(
        "{}: LoRA with {} {}, alpha {}, on {} linears ({}); {} parameters{}",
        dir.display(),
        if adapter.spec.is_uniform() { "rank" } else { "several ranks and scales, largest rank" },
        adapter.spec.rank(),
        adapter.spec.alpha(),
        adapter.spec.sites().len(),
        targets.join(", "),
        adapter.parameters(),
        weights.unwrap_or_default()
    ))
}

fn about_text(base: &Base, paths: &[PathBuf], columns: &Columns) -> Result<Vec<String>> {
    let settings = Settings::defaults(&base.model.config, base.model.device.software);
    let data = base.dataset(&files::read_documents(paths, columns)?, None, &settings, NATIVE_LIMIT)?;
    let counts = format!(
        "{} characters, {} tokens, {} rows of {} to train on, {} held out",
        data.counts.characters,
        data.counts.tokens,
        data.rows.len(),
        settings.seq_len,
        data.held_out.len()
    );
    let taken: usize = data.rows.iter().map(Row::positions).sum();
    let full = |rows: usize| 100 * taken / (rows * settings.seq_len).max(1);
    let (rows, packed) = (data.rows.len(), data.groups(true).len());
    let with = match packed < rows {
        true => format!("; with --packing they are {packed} and {}% full", full(packed)),
        false => String::new(),
    };
    let packing = format!("the rows are {}% full{with}", full(rows));
    let warnings = data.warnings.iter().map(|warning| format!("warning[{}]: {}", warning.code, warning.message));
    Ok([counts, packing].into_iter().chain(warnings).chain(preview::lines(&base.tokenizer, &data.rows)).collect())
}
