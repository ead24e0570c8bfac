//! The forms that an adapter's files have: PEFT's, MLX's and llama.cpp's.

use super::keys::key;
use super::{AdapterFiles, gguf, mlx, peft_config};
use crate::error::{Error, Result};
use crate::model::gguf_names::name;
use crate::model::{Config, Family, Role, Target};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// adapter_config.json and adapter_model.safetensors.
    Peft,
    /// adapter_config.json and adapters.safetensors, whose matrices are transposed: A is [in, rank], B is [rank, out].
    Mlx,
    /// One file, of llama.cpp.
    Gguf,
}

const NAMES: [(&str, Form); 3] = [("peft", Form::Peft), ("gguf", Form::Gguf), ("mlx", Form::Mlx)];

impl Form {
    /// Errors: `Setting`.
    pub fn parse(name: &str) -> Result<Form> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, form)| *form).ok_or_else(|| Error::Setting {
            name: "format".to_string(),
            value: name.to_string(),
            expected: "peft, gguf or mlx".to_string(),
        })
    }

    /// The file of the tensors.
    pub const fn weights(self) -> &'static str {
        match self {
            Form::Peft => "adapter_model.safetensors",
            Form::Mlx => "adapters.safetensors",
            Form::Gguf => "adapter.gguf",
        }
    }

    /// What the A or the B of a linear is called.
    pub(super) fn key(self, family: &Family, layer: usize, target: Target, which: char) -> String {
        let which_or = which.to_ascii_lowercase();
        match self {
            Form::Peft => key(family, layer, target, which),
            Form::Mlx => format!("{}.lora_{which_or}", mlx::module(family, layer, target)),
            Form::Gguf => format!("{}.lora_{which_or}", name(Role::Weight(layer, target))),
        }
    }
}

impl AdapterFiles {
    /// The files of the same adapter in a form, by their names. `base` is the name of the base if these files note
    /// none. All forms have one scale for all linears, as PEFT's files that are written here do. Errors: as `load`.
    pub fn export(&self, form: Form, config: &Config, base: &str) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let files = match form {
            Form::Peft => self.in_peft_form(config, base)?,
            Form::Mlx => mlx::files(&self.folded(config)?, config, &self.origin_or(base)?),
            Form::Gguf => gguf::file(&self.folded(config)?, config, &self.origin_or(base)?),
        };
        let own = (peft_config::CONFIG, files.config.into_bytes());
        let weights = (form.weights(), files.weights);
        Ok(if form == Form::Gguf { vec![weights] } else { vec![weights, own] })
    }
}
