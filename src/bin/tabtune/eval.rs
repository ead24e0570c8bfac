//! `tabtune eval`: the mean loss and the perplexity of a text.

use std::path::PathBuf;

use clap::Args;
use tabtune::error::Result;
use tabtune::run::{Control, MOST_ROWS, Measured, evaluate, evaluator};
use tabtune::text::dataset::NOTHING_MEASURED;
use tabtune::text::rows;

use crate::cli::{AdapterArgs, ColumnArgs, ModelArgs, setting};
use crate::files;
use crate::terminal::{print, show};

#[derive(Args)]
pub struct EvalArgs {
    /// Texts: .txt, .md, .jsonl, .json, .csv, .tsv and others; see the README.
    #[arg(long, value_name = "FILE", required = true, num_args = 1..)]
    data: Vec<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    adapter: AdapterArgs,
    /// Rows that are computed at once.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens in a row [default: 128, or 64 without a graphics card]
    #[arg(long)]
    seq_len: Option<usize>,
    /// Print one JSON object {loss, perplexity, tokens}.
    #[arg(long)]
    json: bool,
}

pub async fn eval(args: EvalArgs) -> Result<()> {
    let base = args.model.load().await?;
    let model = args.adapter.attach(&base)?;
    let context = base.model.config.context;
    let seq_len = args.seq_len.unwrap_or(if base.model.device.software { 64 } else { 128 }.min(context));
    if !(1..=context).contains(&seq_len) {
        return Err(setting("seq-len", seq_len, &format!("a whole number from 1 to {context}, the model's context")));
    }
    if !(1..=MOST_ROWS).contains(&args.batch) {
        return Err(setting("batch", args.batch, &format!("a whole number from 1 to {MOST_ROWS}")));
    }
    let strength = args.adapter.strength;
    if !strength.is_finite() {
        return Err(setting("strength", strength, "a finite number"));
    }
    let data = rows(&base.tokenizer, &files::read_documents(&args.data, &args.columns.columns()?)?, seq_len)?;
    show(&data.all_warnings(seq_len));
    let mut evaluator = evaluator(&model, args.batch, seq_len).await?;
    let strength = if args.adapter.adapter.is_some() { strength } else { 0.0 };
    let measured = evaluate(&mut evaluator, &data.rows, strength, &Control::default()).await?;
    let Measured { loss, labels: tokens } = measured.expect("nobody stops this evaluation");
    let perplexity = loss.map(f64::exp);
    if perplexity.is_some_and(|perplexity| !perplexity.is_finite()) {
        return Err(setting("strength", strength, "a factor at which the perplexity is a finite number"));
    }
    if loss.is_none() {
        eprintln!("warning[{NOTHING_MEASURED}]: no row of {seq_len} tokens has a label, so there is no loss");
    }
    if args.json {
        return print(&format!(
            "{}\n",
            serde_json::json!({ "loss": loss, "perplexity": perplexity, "tokens": tokens })
        ));
    }
    match loss {
        Some(loss) => print(&format!("loss {loss:.4} nats per token, perplexity {:.2}, {tokens} tokens\n", loss.exp())),
        None => print("no loss: nothing was measured\n"),
    }
}
