//! How frozen matrices are stored on the device: what is asked for, and what that is for a matrix.

use std::collections::BTreeSet;

use super::checkpoint::Checkpoint;
use super::config::Config;
use super::tensors::{Role, TensorSpec};
use crate::device::Format;
use crate::error::{Error, Result};
use crate::files::blocks::Blocks;
use crate::files::safetensors::Dtype;
use crate::warning::Warning;

/// How frozen matrices are stored on the device. Norms and biases are always f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Storage {
    /// f32 for tensors that the file holds in it, int8 for Q8_0, int4 for Q4_0, and f16 for the rest.
    #[default]
    #[serde(rename = "auto")]
    AsFile,
    F32,
    /// Half the memory; numbers of f32 and bf16 files are rounded.
    F16,
    /// 8.5 bits per number, rounded as ggml's Q8_0.
    Int8,
    /// 4.5 bits per number, rounded as ggml's Q4_0. The embedding and the head are stored as in `Int8`.
    Int4,
}

impl Storage {
    const ALL: [Storage; 5] = [Storage::AsFile, Storage::F32, Storage::F16, Storage::Int8, Storage::Int4];

    pub fn name(self) -> &'static str {
        match self {
            Storage::AsFile => "auto",
            Storage::F32 => "f32",
            Storage::F16 => "f16",
            Storage::Int8 => "int8",
            Storage::Int4 => "int4",
        }
    }

    /// Errors: `Setting` for what is no name of a storage.
    pub fn parse(name: &str) -> Result<Storage> {
        let known = Storage::ALL.into_iter().find(|storage| storage.name() == name);
        known.ok_or_else(|| Error::Setting {
            name: "weights".to_string(),
            value: name.to_string(),
            expected: "auto, f32, f16, int8 or int4".to_string(),
        })
    }

    /// Whether numbers are stored as whole numbers with a scale.
    pub fn quantises(self) -> bool {
        matches!(self, Storage::Int8 | Storage::Int4)
    }

    /// How a matrix is stored that the file holds as `dtype`. A matrix whose rows are not whole groups stays f16.
    pub fn format(self, spec: &TensorSpec, dtype: Dtype) -> Format {
        let is_table = matches!(spec.role, Role::Embedding | Role::Head);
        let format = match (self, dtype) {
            (Storage::F32, _) | (Storage::AsFile, Dtype::F32) => Format::F32,
            (Storage::Int8, _) | (Storage::AsFile, Dtype::Blocks(Blocks::Q8_0)) => Format::Int8,
            (Storage::Int4, _) | (Storage::AsFile, Dtype::Blocks(Blocks::Q4_0)) if is_table => Format::Int8,
            (Storage::Int4, _) | (Storage::AsFile, Dtype::Blocks(Blocks::Q4_0)) => Format::Int4,
            _ => Format::F16,
        };
        let [_, cols] = spec.size();
        if cols.is_multiple_of(format.group()) { format } else { Format::F16 }
    }

    /// The first storage whose matrices have the same formats as those of this one: `auto` may share them with another,
    /// and so may `int8` where no row is whole groups.
    pub(super) fn resolve(self, checkpoint: &Checkpoint) -> Storage {
        let tensors = checkpoint.config.tensors();
        let same = |other: &Storage| {
            let mut matrices = tensors.iter().filter(|spec| spec.role.is_weight());
            matrices.all(|spec| {
                let dtype = checkpoint.entry(spec).dtype;
                other.format(spec, dtype) == self.format(spec, dtype)
            })
        };
        Storage::ALL.into_iter().skip(1).find(same).unwrap_or(self)
    }
}

/// Whether the blocks of a file are stored as they are.
pub(super) fn keeps_blocks(dtype: Dtype, format: Format) -> bool {
    let kept = [(Blocks::Q8_0, Format::Int8), (Blocks::Q4_0, Format::Int4)];
    kept.into_iter().any(|(blocks, stored)| dtype == Dtype::Blocks(blocks) && format == stored)
}

/// Says what becomes of quantised numbers that are not stored as they are in the file.
pub(super) fn stored_otherwise(checkpoint: &Checkpoint, format: &dyn Fn(&TensorSpec) -> Format) -> Option<Warning> {
    let tensors = checkpoint.config.tensors();
    let changes = tensors.iter().filter(|spec| spec.role.is_weight()).filter_map(|spec| {
        let (Dtype::Blocks(blocks), format) = (checkpoint.entry(spec).dtype, format(spec)) else { return None };
        (!keeps_blocks(Dtype::Blocks(blocks), format))
            .then(|| format!("{blocks:?} as {}", format.feature().unwrap_or("f32")))
    });
    let changes: Vec<String> = changes.collect::<BTreeSet<String>>().into_iter().collect();
    let message = format!("quantised numbers of the file are stored in another form: {}", changes.join(", "));
    (!changes.is_empty()).then_some(Warning { code: "dequantised", message })
}

/// Says which matrices `storage` cannot quantise.
pub(super) fn kept_in_f16(
    config: &Config,
    storage: Storage,
    format: &dyn Fn(&TensorSpec) -> Format,
) -> Option<Warning> {
    let tensors = config.tensors();
    let mut kept = tensors.iter().filter(|spec| spec.role.is_weight() && format(spec) == Format::F16);
    let (first, others) = (kept.next().filter(|_| storage.quantises())?, kept.count());
    let also = if others > 0 { format!(" and {others} more") } else { String::new() };
    let message = format!(
        "`{}`{also} are stored as f16, not as {}, because their rows are not whole groups of 32 numbers",
        first.name,
        storage.name()
    );
    Some(Warning { code: "weights_in_f16", message })
}
