//! `tabtune generate`: the continuation of a prompt, without the prompt.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use tabtune::adapter::AdapterFiles;
use tabtune::error::Result;
use tabtune::generate::{Generator, Sampling};
use tabtune::run::Base;
use tabtune::text::{Columns, Conversation, Prompt};

use crate::cli::{AdapterArgs, ModelArgs};
use crate::files::read_documents;
use crate::terminal::print;

#[derive(Args)]
#[command(group = ArgGroup::new("what").required(true).args(["prompt", "chat", "messages"]))]
pub struct GenerateArgs {
    /// The text to continue, taken as it is; it is not printed.
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    prompt: Option<String>,
    /// A user's message to answer: the model's chat template writes it as the model learnt to read it.
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT")]
    chat: Option<String>,
    /// The system's message before --chat.
    #[arg(long, allow_hyphen_values = true, value_name = "TEXT", requires = "chat")]
    #[arg(conflicts_with_all = ["prompt", "messages"])]
    system: Option<String>,
    /// A whole conversation to answer: a JSON list of messages, or an object with `messages`.
    #[arg(long, value_name = "FILE")]
    messages: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    adapter: AdapterArgs,
    /// The most tokens to generate.
    #[arg(long, default_value_t = 100)]
    max_tokens: usize,
    /// Randomness of the choice of tokens; 0 always takes the likeliest one.
    #[arg(long, default_value_t = 0.7)]
    temperature: f64,
    /// Choose among the k likeliest tokens only; 0: among all.
    #[arg(long, default_value_t = 40)]
    top_k: usize,
    /// Choose among the likeliest tokens whose probabilities add up to p; 1: among all.
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Seed of the choice: the same seed gives the same text.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl GenerateArgs {
    /// A prompt that is taken as it is asks an adapter that was trained on conversations for what it did not learn.
    fn say_if_chat_was_learnt(&self, base: &Base) -> Result<()> {
        let Some(dir) = self.adapter.adapter.as_ref().filter(|_| self.prompt.is_some()) else { return Ok(()) };
        if base.tokenizer.has_chat_template() && AdapterFiles::open(dir)?.origin()?.is_chat {
            eprintln!(
                "warning[plain_prompt]: the adapter was trained on conversations, and --prompt is taken as it is, \
                 without the model's chat template; --chat writes it as a user's message"
            );
        }
        Ok(())
    }

    fn conversation(&self) -> Result<Option<Conversation>> {
        let system = self.system.as_deref();
        if let Some(message) = &self.chat {
            return Ok(Some(Conversation::of_user(message, system)));
        }
        let documents = read_documents(self.messages.as_slice(), &Columns::Known)?;
        documents.first().map(Conversation::of_file).transpose()
    }
}

pub async fn generate(args: GenerateArgs) -> Result<()> {
    let conversation = args.conversation()?;
    let base = args.model.load().await?;
    let prompt = match &conversation {
        Some(conversation) => Prompt::Conversation(conversation),
        None => Prompt::Text(args.prompt.as_deref().unwrap_or_default()),
    };
    // A prompt that cannot be used is refused before the plans are made.
    prompt.ids(&base.tokenizer)?;
    args.say_if_chat_was_learnt(&base)?;
    let generator = Generator::new(&args.adapter.attach(&base)?).await?;
    let sampling = Sampling {
        max_tokens: args.max_tokens,
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        seed: args.seed,
        strength: args.adapter.strength,
    };
    let printed = RefCell::new(Ok(()));
    let mut emit = |piece: &str| {
        let mut printed = printed.borrow_mut();
        if printed.is_ok() {
            *printed = print(piece);
        }
    };
    generator.generate(&base.tokenizer, prompt, &sampling, &mut emit, &|| printed.borrow().is_ok()).await?;
    printed.into_inner()?;
    if std::io::stdout().is_terminal() { print("\n") } else { Ok(()) }
}
