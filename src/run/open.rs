//! Opens a base model from the folder of its checkpoint, or from a GGUF file. Native only, because a browser has no
//! folders.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use super::{Base, ModelFiles};
use crate::device::Device;
use crate::error::Result;
use crate::files::gguf::MAGIC;
use crate::files::{Folder, Index, Source};
use crate::model::{Config, Storage};

/// The most bytes that are read of a small file: one more than the largest tokenizer accepted, so that a larger one is
/// refused without filling the memory.
const MOST_READ: u64 = (32 << 20) + 1;
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const WHOLE: &str = "give the whole folder of a Hugging Face checkpoint";
const AS_ADAPTER: &str = "give it as the adapter (`--adapter`, or `--init` to train it further), and as the model the \
                          base that it was trained on";

/// The folder of a Hugging Face checkpoint whose config can be used.
pub struct ModelFolder {
    folder: Folder,
    /// config.json as it is.
    json: Vec<u8>,
    pub config: Config,
}

impl ModelFolder {
    /// Reads config.json and nothing else: what it says is judged before anything that lies beside it. Errors: `Io`,
    /// `Folder`, and those of [`Config::parse`].
    pub fn open(dir: &Path) -> Result<ModelFolder> {
        let folder = Folder::open(dir)?;
        if !folder.has(CONFIG) {
            return Err(match is_adapter(&folder) {
                true => folder.refusal("holds an adapter, not a model", AS_ADAPTER),
                false => folder.refuse_without(CONFIG, WHOLE),
            });
        }
        let json = folder.read(CONFIG, MOST_READ)?;
        let config = Config::parse(&json)?;
        Ok(ModelFolder { folder, json, config })
    }

    /// The weights, of which nothing has been read yet: one file of safetensors or, where there is none, those of the
    /// index. Errors: `Folder` for a folder without either, `Shards`, `Io`.
    pub fn weights(&self) -> Result<Source> {
        let folder = &self.folder;
        if folder.has(WEIGHTS) {
            return Source::file(&folder.path(WEIGHTS));
        }
        if folder.has(INDEX) {
            let index = Index::parse(&folder.read(INDEX, MOST_READ)?, &folder.path(INDEX).display().to_string())?;
            return index.join(|name| folder.has(name).then(|| Source::file(&folder.path(name))).transpose());
        }
        let shard = folder.find(|file| file.starts_with("model-") && file.ends_with(".safetensors"));
        Err(match (shard, folder.find(|file| file.ends_with(".safetensors") && !file.starts_with("adapter"))) {
            (Some(shard), _) => folder.refusal(
                &format!("has `{shard}`, a part of a checkpoint, but no {INDEX}, which says what is in which part"),
                "download that file too",
            ),
            (None, _) if is_adapter(folder) => folder.refusal("holds an adapter, not a model", AS_ADAPTER),
            (None, Some(other)) => folder.refusal(
                &format!("has no {WEIGHTS}, but `{other}`"),
                "if these are all weights of the model under the names of transformers, rename the file",
            ),
            (None, None) => folder.refuse_without(WEIGHTS, WHOLE),
        })
    }

    fn tokenizer(&self) -> Result<Vec<u8>> {
        let folder = &self.folder;
        if folder.has(TOKENIZER) {
            return folder.read(TOKENIZER, MOST_READ);
        }
        let older = folder.find(|file| matches!(file, "tokenizer.model" | "vocab.json" | "spiece.model"));
        Err(match older {
            Some(older) => folder.refusal(
                &format!("has no {TOKENIZER}, but `{older}`, an older form of the tokenizer"),
                "write it in Python: `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`",
            ),
            None => folder.refusal(&format!("has no {TOKENIZER}"), WHOLE),
        })
    }
}

fn is_adapter(folder: &Folder) -> bool {
    folder.find(|file| file.starts_with("adapter_config.json") || file.starts_with("adapter_model.")).is_some()
}

/// Whether it is a file that is called so or begins so: stores of models name files by their hashes.
fn is_gguf(path: &Path) -> bool {
    let mut beginning = [0; MAGIC.len()];
    let mut begins = || File::open(path).and_then(|mut file| file.read_exact(&mut beginning)).is_ok();
    let is_called = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
    path.is_file() && (is_called || begins() && beginning == *MAGIC)
}

impl ModelFiles {
    /// A Hugging Face checkpoint: config.json, tokenizer.json, model.safetensors or the files of its index, and, if
    /// present, tokenizer_config.json, generation_config.json and chat_template.jinja; or a GGUF file. Errors: `Folder`
    /// for a folder in another form, `Io` for a file that cannot be read, and those of [`ModelFiles::of_gguf`].
    pub async fn open(path: &Path) -> Result<ModelFiles> {
        if is_gguf(path) {
            return ModelFiles::of_gguf(Source::file(path)?).await;
        }
        let model = ModelFolder::open(path)?;
        let optional = |name: &str| model.folder.read_if_there(name, MOST_READ);
        Ok(ModelFiles {
            tokenizer: model.tokenizer()?,
            tokenizer_config: optional("tokenizer_config.json")?,
            generation_config: optional("generation_config.json")?,
            chat_template: optional("chat_template.jinja")?,
            weights: model.weights()?,
            config: model.json,
        })
    }
}

impl Base {
    /// Opens what lies at `path`. Errors: those of [`ModelFiles::open`] and of [`Base::load`].
    pub async fn open(device: &Rc<Device>, path: &Path, storage: Storage) -> Result<Base> {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |it| it.to_string_lossy().into_owned());
        let files = ModelFiles::open(path).await?;
        Base::load(device, &name, &files.small(), &files.weights, storage, &mut |_, _| {}).await
    }
}
