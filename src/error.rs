//! Every way in which the library can fail: one enum, each variant with a stable `code` and a `hint` that says what to
//! do.
//!
//! # All of them
//!
#![doc = include_str!("error.md")]

use thiserror::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    #[error("the text is empty")]
    TextEmpty,
    #[error("the text is too short: it has {size}, about {enough} are needed ({found} tokens, one row needs {needed})")]
    TextTooShort { size: String, enough: usize, found: usize, needed: usize },
    #[error("the text has {bytes} bytes, the limit is {limit}")]
    TextTooLarge { bytes: u64, limit: u64 },
    #[error("the text has {bytes} bytes of white space in a row, at most {limit} are read")]
    TextWhiteSpace { bytes: usize, limit: usize },
    #[error("`{name}` is not UTF-8 text: byte {offset} is not part of a character")]
    TextNotUtf8 { name: String, offset: usize },
    #[error("`{name}` is {found}: {advice}")]
    NotText { name: String, found: String, advice: String },
    #[error("`{name}`, line {line}: {reason}")]
    DataLine { name: String, line: usize, reason: String },
    #[error("`{name}`: {reason}")]
    DataFormat { name: String, reason: String },
    #[error("`{name}`, line {line}: {reason}")]
    UnknownColumns { name: String, line: usize, reason: String },
    #[error("{place}: the model has no chat template, so conversations cannot be written as it reads them")]
    NoChatTemplate { place: String },
    #[error("{place}: {reason}")]
    Messages { place: String, reason: String },
    #[error("{place}: the model's chat template refuses this conversation: {reason}")]
    Conversation { place: String, reason: String },
    #[error("{place}: the model's chat template fails at this conversation: {reason}")]
    TemplateFails { place: String, reason: String },
    #[error("the model's chat template cannot be used: {reason}")]
    ChatTemplate { reason: String },

    #[error("`{file}` is not a usable safetensors file: {reason}")]
    Safetensors { file: String, reason: String },
    #[error("the checkpoint of `{file}` cannot be used: {reason}")]
    Shards { file: String, reason: String },
    #[error("`{file}` is not a usable GGUF file: {reason}")]
    Gguf { file: String, reason: String },
    #[error("`{file}` is {found}: {advice}")]
    NotSafetensors { file: String, found: String, advice: String },
    #[error("`{path}` {found}: {advice}")]
    Folder { path: String, found: String, advice: String },
    #[error("tensor `{name}`: expected shape {expected:?}, found {found:?}")]
    TensorShape { name: String, expected: Vec<usize>, found: Vec<usize> },
    #[error("tensor `{name}` is missing from `{file}`")]
    TensorMissing { name: String, file: String },
    #[error("`{file}` holds tensor `{name}`, which the model in config.json does not have")]
    TensorUnknown { name: String, file: String },
    #[error("tensor `{name}` holds a number that is not finite")]
    TensorNotFinite { name: String },
    #[error("tensor `{name}` of `{file}` holds numbers of the type {dtype}; F32, F16 and BF16 are read")]
    TensorType { name: String, dtype: String, file: String },
    #[error("`{file}` holds `{first}` and `{second}`, which are two names of one tensor")]
    TensorNames { first: String, second: String, file: String },
    #[error("the checkpoint is quantised: {what}")]
    Quantised { what: String },
    #[error("the tokenizer cannot be used: {reason}")]
    Tokenizer { reason: String },
    #[error("config.json, field `{field}`: {reason}")]
    Config { field: String, reason: String },
    #[error("model type `{model_type}` is not supported; supported: {supported}")]
    UnsupportedModel { model_type: String, supported: String },
    #[error("the model has `{field}` = {value}, which is not supported")]
    UnsupportedField { field: String, value: String },
    #[error("`{file}`: {reason}")]
    Adapter { file: String, reason: String },
    #[error("the adapter is more than plain LoRA: {feature}")]
    UnsupportedAdapter { feature: String },
    #[error("the adapter also replaces {what}")]
    AdapterReplaces { what: String },
    #[error("`{file}` lacks tensors that adapter_config.json names: {missing}")]
    AdapterIncomplete { file: String, missing: String },
    #[error("the adapter was made for another model: {reason}")]
    AdapterMismatch { reason: String },

    #[error("`{name}` = {value}: expected {expected}")]
    Setting { name: String, value: String, expected: String },
    #[error("the prompt has {tokens} tokens, the model reads at most {context}")]
    PromptTooLong { tokens: usize, context: usize },
    #[error("{what} is not available yet")]
    NotYet { what: String },
    #[error("{reason}")]
    Usage { reason: String },
    #[error("the dataset cannot be used: {reason}")]
    Dataset { reason: String },

    #[error("no graphics card can be used: {reason}")]
    NoGpu { reason: String },
    #[error("{what} needs {needed} bytes, the device allows {limit}")]
    GpuLimit { what: String, needed: u64, limit: u64 },
    #[error("the run needs {needed} bytes on the device, {limit} are allowed: {advice}")]
    MemoryLimit { needed: u64, limit: u64, advice: String },
    #[error("the device has no memory left for {what}")]
    OutOfMemory { what: String },
    #[error("the graphics card refused a plan: {reason}")]
    GpuRefused { reason: String },
    #[error("the device was lost: {reason}")]
    DeviceLost { reason: String },
    #[error("step {step}: the loss or the gradient is not a finite number")]
    NonFinite { step: u32 },
    #[error(
        "the exported adapter does not compute what the trained one does: logit {row} is {found} instead of {expected}"
    )]
    ExportCheck { row: usize, expected: f32, found: f32 },
    #[error("the run cannot be resumed: {reason}")]
    RunState { reason: String },
    #[error("`{path}`: {reason}")]
    Io { path: String, reason: String },
    #[error("something is wrong inside tabtune: {what}")]
    Internal { what: String },
}

impl Error {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Error::TextEmpty => "text_empty",
            Error::TextTooShort { .. } => "text_too_short",
            Error::TextTooLarge { .. } => "text_too_large",
            Error::TextWhiteSpace { .. } => "text_white_space",
            Error::TextNotUtf8 { .. } => "text_not_utf8",
            Error::NotText { .. } => "not_text",
            Error::DataLine { .. } => "data_line",
            Error::DataFormat { .. } => "data_format",
            Error::UnknownColumns { .. } => "unknown_columns",
            Error::NoChatTemplate { .. } => "no_chat_template",
            Error::Messages { .. } => "messages",
            Error::Conversation { .. } => "conversation",
            Error::TemplateFails { .. } => "template_fails",
            Error::ChatTemplate { .. } => "chat_template",
            Error::Safetensors { .. } => "safetensors",
            Error::Shards { .. } => "shards",
            Error::Gguf { .. } => "gguf",
            Error::NotSafetensors { .. } => "not_safetensors",
            Error::Folder { .. } => "folder",
            Error::TensorShape { .. } => "tensor_shape",
            Error::TensorMissing { .. } => "tensor_missing",
            Error::TensorUnknown { .. } => "tensor_unknown",
            Error::TensorNotFinite { .. } => "tensor_not_finite",
            Error::TensorType { .. } => "tensor_type",
            Error::TensorNames { .. } => "tensor_names",
            Error::Quantised { .. } => "quantised",
            Error::Tokenizer { .. } => "tokenizer",
            Error::Config { .. } => "config",
            Error::UnsupportedModel { .. } => "unsupported_model",
            Error::UnsupportedField { .. } => "unsupported_field",
            Error::Adapter { .. } => "adapter",
            Error::UnsupportedAdapter { .. } => "unsupported_adapter",
            Error::AdapterReplaces { .. } => "adapter_replaces",
            Error::AdapterIncomplete { .. } => "adapter_incomplete",
            Error::AdapterMismatch { .. } => "adapter_mismatch",
            Error::Setting { .. } => "setting",
            Error::PromptTooLong { .. } => "prompt_too_long",
            Error::NotYet { .. } => "not_yet",
            Error::Usage { .. } => "usage",
            Error::Dataset { .. } => "dataset",
            Error::NoGpu { .. } => "no_gpu",
            Error::GpuLimit { .. } => "gpu_limit",
            Error::MemoryLimit { .. } => "memory_limit",
            Error::OutOfMemory { .. } => "out_of_memory",
            Error::GpuRefused { .. } => "gpu_refused",
            Error::DeviceLost { .. } => "device_lost",
            Error::NonFinite { .. } => "non_finite",
            Error::ExportCheck { .. } => "export_check",
            Error::RunState { .. } => "run_state",
            Error::Io { .. } => "io",
            Error::Internal { .. } => "internal",
        }
    }

    /// One sentence that says what to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Error::TextEmpty => "Give some text: a few pages of it work best.",
            Error::TextTooShort { .. } => "Add text, or make the rows shorter.",
            Error::TextTooLarge { .. } => "Use a part of the text; a few megabytes are plenty for an adapter.",
            Error::TextWhiteSpace { .. } => "Remove the white space.",
            Error::TextNotUtf8 { .. } => {
                "Open the file in an editor and save it with the encoding UTF-8, or copy its text and paste that."
            }
            Error::NotText { .. } => "Give text, JSON Lines or a table (.csv).",
            Error::DataLine { .. } => {
                "Correct or remove that line. A line of a .jsonl file looks like {\"text\": \"A fine day.\"} or \
                 {\"prompt\": \"Where is the fox?\", \"completion\": \" At home.\"}; in a .csv file every line has \
                 as many fields as the first."
            }
            Error::DataFormat { .. } => {
                "Give text, or records with something to learn in each, such as {\"text\": \"A fine day.\"} or \
                 {\"prompt\": \"Where is the fox?\", \"completion\": \" At home.\"}."
            }
            Error::UnknownColumns { .. } => {
                "Choose the columns by name: that of the text, or those of the prompt and of the completion."
            }
            Error::NoChatTemplate { .. } => {
                "Use a model that was made for chat (its folder has chat_template.jinja or a chat_template in \
                 tokenizer_config.json), or use plain prompts: \"prompt\" and \"completion\" to train, a prompt that \
                 is taken as it is to generate."
            }
            Error::Messages { .. } => {
                "Correct those values, or leave the conversation out: content is text, arguments are an object."
            }
            Error::Conversation { .. } => {
                "Change the roles or their order to what this model expects (some take no system message, most want \
                 user and assistant to alternate), or leave the conversation out."
            }
            Error::TemplateFails { .. } => {
                "Compare the conversation with one that works: the template may need a key or a type that this one \
                 lacks. Otherwise use the chat template that came with the model, or plain prompts."
            }
            Error::ChatTemplate { .. } => {
                "Use the chat template that came with the model, or write each line as \"prompt\" and \"completion\"."
            }
            Error::Safetensors { .. } => "Download or save the file again; it is damaged or cut short.",
            Error::Shards { .. } => {
                "Copy or download the folder again, with all files that the index names, each unchanged."
            }
            Error::Gguf { .. } => {
                "Use a whole file whose tensors have the types F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, \
                 Q5_K or Q6_K, or the checkpoint in safetensors that it was made from."
            }
            Error::NotSafetensors { .. } => "Weights are read from safetensors and GGUF files only.",
            Error::Folder { .. } => {
                "A model's folder has config.json, tokenizer.json and model.safetensors, or its parts with their \
                 index; an adapter's has adapter_config.json and adapter_model.safetensors, or \
                 adapters.safetensors of MLX."
            }
            Error::TensorShape { .. } | Error::TensorMissing { .. } | Error::TensorUnknown { .. } => {
                "Check that config.json and the weights belong to the same model."
            }
            Error::TensorNotFinite { .. } => {
                "The file is damaged or the training that made it diverged; use another copy."
            }
            Error::TensorType { .. } => {
                "Save the weights in float32, float16 or bfloat16 (in Python `model.float()`, then `save_pretrained`)."
            }
            Error::TensorNames { .. } => "Remove one of the two from the file, or save the model again.",
            Error::Quantised { .. } => {
                "Use the checkpoint that it was made from, in float32, float16 or bfloat16; or load it in Python, call \
                 `dequantize()` and `save_pretrained`."
            }
            Error::Tokenizer { .. } => {
                "Use the tokenizer.json that came with the model, or the checkpoint from which a GGUF file was made."
            }
            Error::Config { .. } => "Use the config.json that came with the model.",
            Error::UnsupportedModel { .. } => "Use a model whose config.json has one of these as its model_type.",
            Error::UnsupportedField { .. } => "Use a model without this feature.",
            Error::Adapter { .. } => "Use the files that PEFT, mlx-lm, llama.cpp or tabtune wrote, unchanged.",
            Error::UnsupportedAdapter { .. } => {
                "Use an adapter that was trained as plain LoRA on linears, or merge this one into its base with PEFT."
            }
            Error::AdapterReplaces { .. } => {
                "Merge it into its base in Python (after `resize_token_embeddings` if the vocabulary grew): PEFT's \
                 `merge_and_unload()`, then `save_pretrained(folder)`; use that folder as the model."
            }
            Error::AdapterIncomplete { .. } => {
                "Save the adapter again, or copy it whole; if it is whole, it was made for a smaller model, or \
                 `target_modules` and `layers_to_transform` name more than was trained."
            }
            Error::AdapterMismatch { .. } => "Load the adapter with the model it was trained on.",
            Error::Setting { .. } => "Change this setting and start again.",
            Error::PromptTooLong { .. } => "Shorten the prompt.",
            Error::Usage { .. } => {
                "`tabtune help` lists the commands, `tabtune help train` (or another command) its options."
            }
            Error::Dataset { .. } => "Make the dataset again from the text.",
            Error::NotYet { .. } => "For now, leave this option out or use a model without this feature.",
            Error::NoGpu { .. } => {
                "Let the processor compute (`--device cpu`, in a page `device: \"cpu\"`), or use a browser with \
                 WebGPU; natively, install a Vulkan driver."
            }
            Error::GpuLimit { .. } => "Use a smaller batch, shorter rows or a smaller model.",
            Error::MemoryLimit { .. } => "Change these settings or the model, or allow more memory.",
            Error::OutOfMemory { .. } => {
                "Close other programs that use the graphics card, or use checkpointing, a smaller batch, shorter rows \
                 or a smaller model."
            }
            Error::GpuRefused { .. } => "Use a smaller batch or shorter rows; if it persists, report it.",
            Error::DeviceLost { .. } => {
                "Start again, or resume from the last saved state (`--resume`; in JavaScript `model.resume`)."
            }
            Error::NonFinite { .. } => "Try a learning rate three times lower; the best finite adapter so far is kept.",
            Error::ExportCheck { .. } => "Please report this with the model's name; the adapter in memory is unharmed.",
            Error::RunState { .. } => {
                "Resume with the model and the text that the run began with, or start a new run from the adapter that \
                 it kept."
            }
            Error::Io { .. } => "Check that the path exists and may be read or written.",
            Error::Internal { .. } => "Please report this with what you did.",
        }
    }
}
