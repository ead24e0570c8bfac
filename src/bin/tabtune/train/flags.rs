//! The flags of `tabtune train`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::{ColumnArgs, ModelArgs};

#[derive(Args)]
pub struct TrainArgs {
    /// Texts: .txt, .md, .jsonl, .json, .csv, .tsv and others; see the README.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    pub data: Vec<PathBuf>,
    #[command(flatten)]
    pub columns: ColumnArgs,
    /// The folder that PEFT's two files are written to.
    #[arg(long, value_name = "ADAPTER_DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub model: ModelArgs,
    /// Start from this adapter and take over its rank, alpha and targets.
    #[arg(long, value_name = "DIR|FILE")]
    pub init: Option<PathBuf>,
    /// lora; or full, which trains every matrix of the blocks and writes a whole checkpoint to --out [default: lora]
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Rank of the adapter's matrices [default: 8]
    #[arg(long)]
    pub rank: Option<usize>,
    /// Scale of the adapter's update: alpha / rank [default: twice the rank]
    #[arg(long)]
    pub alpha: Option<f64>,
    /// all-linear, attention, or names such as q_proj,v_proj [default: all-linear]
    #[arg(long)]
    pub targets: Option<String>,
    /// Peak learning rate [default: measured for the embedded base, 5e-4 for others]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Course of the learning rate after its peak: linear, cosine or constant [default: linear]
    #[arg(long)]
    pub schedule: Option<String>,
    /// Fraction of the steps in which the learning rate rises to its peak [default: 0.05]
    #[arg(long)]
    pub warmup: Option<f64>,
    /// Number of updates [default: 150 or three epochs, whichever is more, at most 2000]
    #[arg(long, conflicts_with = "epochs")]
    pub steps: Option<u32>,
    /// How many times every row is trained on, instead of --steps.
    #[arg(long)]
    pub epochs: Option<f64>,
    /// Rows that are computed at once [default: 8, or 4 without a graphics card]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Tokens in a row [default: 128 for the embedded base, 256 for others, 64 without a graphics card]
    #[arg(long)]
    pub seq_len: Option<usize>,
    /// Batches in a step [default: 1]
    #[arg(long)]
    pub accumulate: Option<usize>,
    /// Clip the gradient to this norm; 0: do not clip [default: 1]
    #[arg(long)]
    pub clip: Option<f64>,
    /// AdamW's weight decay [default: 0]
    #[arg(long)]
    pub weight_decay: Option<f64>,
    /// Probability that an input of the adapter is zeroed [default: 0]
    #[arg(long)]
    pub dropout: Option<f64>,
    /// Compute norms and activations again in the backward pass instead of keeping them: less memory, hardly more
    /// slowly.
    #[arg(long)]
    pub lean: bool,
    /// Compute every block again in the backward pass instead of keeping its numbers: even less memory, more slowly.
    #[arg(long)]
    pub checkpointing: bool,
    /// Let short examples share rows, so that less of what is computed is padding. What is learnt from an example stays
    /// the same; a batch of as many rows holds more of them.
    #[arg(long)]
    pub packing: bool,
    /// On a graphics card, do not measure first, for about a second, how the largest products are fastest there.
    #[arg(long)]
    pub no_autotune: bool,
    /// Hold at most so many bytes on the device: a run that would need more uses --lean, then --checkpointing and,
    /// without dropout, smaller micro-batches, which make the same steps, then, unless --weights says otherwise,
    /// weights in fewer bits, or is refused before its model is loaded [default: what the device has]
    #[arg(long, value_name = "BYTES")]
    pub memory_limit: Option<u64>,
    /// Fraction of the rows to hold out for evaluation [default: 0.1, at most 64 rows]
    #[arg(long, conflicts_with = "eval_data")]
    pub holdout: Option<f64>,
    /// Evaluate on this text instead of holding out a part of --data.
    #[arg(long, value_name = "FILE")]
    pub eval_data: Option<PathBuf>,
    /// Steps between evaluations [default: a tenth of the run]
    #[arg(long)]
    pub eval_every: Option<u32>,
    /// End the run after this many evaluations in a row without a lower held-out loss.
    #[arg(long, value_name = "N")]
    pub patience: Option<u32>,
    /// Steps between samples [default: no samples]
    #[arg(long)]
    pub sample_every: Option<u32>,
    /// The text that samples continue; there are none without --sample-every.
    #[arg(long, allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Seed of the adapter's initial weights, the order of the rows, dropout and samples [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Keep the rows in the order of the file.
    #[arg(long)]
    pub no_shuffle: bool,
    /// Write every event to this file, one JSON object on each line.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Seconds between writes of the run state to --out, from which --resume continues a run that was killed [default:
    /// 30]
    #[arg(long, value_name = "SECONDS", alias = "checkpoint-every")]
    pub save_every: Option<f64>,
    /// Continue the run that wrote to this folder, with the same data and the settings that it had.
    #[arg(long, value_name = "DIR", conflicts_with = "init")]
    pub resume: Option<PathBuf>,
}
