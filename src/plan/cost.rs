//! What a dispatch computes and how many bytes it moves at least, from its kernel, its constants and the size of its
//! problem: the only place that knows. It serves measurements, and guesses nothing: a kernel that is not listed here
//! has no numbers.

use super::plan::{Dispatch, Operand};
use crate::device::{Access, Constant, KernelKey};

/// `None`: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Two for every multiply-add of a product. What is not a product has none to speak of.
    pub flops: Option<f64>,
    /// Every operand once, or twice where what was there is read and written.
    pub bytes: Option<f64>,
}

/// The size of a dispatch: its extents, and the bytes of each operand.
pub struct Size {
    extents: Vec<(&'static str, usize)>,
    operands: Vec<u64>,
}

/// Kernels that write their outputs without reading them, unless their constant ACCUMULATE is set.
const ASSIGN: &[&str] = &[
    "add",
    "adamw_norm",
    "attention_backward_kv",
    "attention_backward_q",
    "attention_forward",
    "copy_probe",
    "cross_entropy_forward",
    "cross_entropy_total",
    "dropout",
    "embed",
    "gather_rows_backward",
    "gather_rows_forward",
    "gelu_backward",
    "gelu_forward",
    "layer_norm_backward",
    "layer_norm_forward",
    "learned_positions",
    "low_rank_backward",
    "low_rank_forward",
    "matmul",
    "matmul_sum",
    "matmul_vec",
    "rms_norm_backward",
    "rms_norm_forward",
    "split",
    "swiglu_backward",
    "swiglu_forward",
];
/// Kernels that read every output that they write.
const UPDATE: &[&str] = &["adamw", "bias", "cross_entropy_backward", "low_rank_gradients", "matmul_tn", "rope"];

impl Size {
    pub(super) fn of(dispatch: &Dispatch) -> Size {
        let operands = dispatch.operands.iter().map(Operand::bytes).collect();
        Size { extents: dispatch.extents.clone(), operands }
    }

    fn extent(&self, name: &str) -> Option<f64> {
        self.extents.iter().find(|(known, _)| *known == name).map(|(_, size)| *size as f64)
    }
}

impl Cost {
    pub(super) fn of(key: &KernelKey, size: &Size, seq_len: usize) -> Cost {
        Cost { flops: flops(key, size, seq_len), bytes: bytes(key, size, seq_len as f64) }
    }
}

fn constant(key: &KernelKey, name: &str) -> Option<f64> {
    key.constants.iter().find_map(|(known, value)| match value {
        Constant::U32(value) if *known == name => Some(f64::from(*value)),
        _ => None,
    })
}

/// The columns of all linears that a low-rank kernel serves.
fn outs(key: &KernelKey) -> f64 {
    ["N_0", "N_1", "N_2"].iter().filter_map(|name| constant(key, name)).sum()
}

/// By how many numbers low-rank terms make the sum of a product longer: R for each column of y. With `nn` each has the
/// terms of all linears.
fn extension(key: &KernelKey) -> f64 {
    let linears = if key.features.contains(&"nn") { constant(key, "LINEARS").unwrap_or(1.0) } else { 1.0 };
    linears * constant(key, "R").unwrap_or(0.0)
}

fn flops(key: &KernelKey, size: &Size, seq_len: usize) -> Option<f64> {
    let constant = |name| constant(key, name);
    // Of attention, for every pair of a query and a key: products of D numbers.
    let products = |count: f64| {
        let (rows, window) = (size.extent("rows")?, constant("WINDOW").unwrap_or(f64::INFINITY));
        let keys: f64 = (1..=seq_len).map(|seen| (seen as f64).min(window)).sum();
        Some(2.0 * count * constant("D")? * constant("H")? * keys * rows / seq_len as f64)
    };
    // Rows that are summed over are no extent of the result, but those of an operand with so many columns.
    let rows = |operand: usize, columns: f64| Some(*size.operands.get(operand)? as f64 / (4.0 * columns));
    match key.kernel {
        "matmul" => Some(2.0 * size.extent("rows")? * constant("N")? * (constant("K")? + extension(key))),
        "matmul_vec" => Some(2.0 * constant("N")? * constant("K")?),
        "matmul_tn" => {
            let (p, q) = (constant("P")?, constant("Q")?);
            Some(2.0 * p * q * rows(2, q)?)
        }
        "low_rank_forward" => Some(2.0 * rows(1, constant("K")?)? * constant("K")? * constant("COLUMNS")?),
        "low_rank_backward" => Some(2.0 * rows(1, constant("N_0")?)? * constant("R")? * outs(key)),
        "low_rank_gradients" => {
            let (k, columns) = (constant("K")?, constant("COLUMNS")?);
            Some(2.0 * rows(1, k)? * (k * columns + constant("R")? * outs(key)))
        }
        // q·k and p·v.
        "attention_forward" => products(2.0),
        // q·k, do·v and ds·k.
        "attention_backward_q" => products(3.0),
        // q·k, do·v, p·do and ds·q.
        "attention_backward_kv" => products(4.0),
        "fma_probe" => Some(2.0 * 64.0 * constant("LOOPS")? * size.extent("invocations")?),
        _ => None,
    }
}

fn bytes(key: &KernelKey, size: &Size, seq_len: f64) -> Option<f64> {
    let adds = key.constants.contains(&("ACCUMULATE", Constant::Bool(true)));
    let updates = UPDATE.contains(&key.kernel) || adds;
    if !updates && !ASSIGN.contains(&key.kernel) {
        return None;
    }
    let mut all = 0.0;
    for (i, (access, operand)) in key.module().bindings.iter().zip(&size.operands).enumerate() {
        let most = part(key, size, i, seq_len).unwrap_or(f64::INFINITY);
        all += match access {
            Access::Uniform => 0.0,
            Access::Read => (*operand as f64).min(most),
            Access::ReadWrite => (*operand as f64).min(most) * if updates { 2.0 } else { 1.0 },
        };
    }
    Some(all)
}

/// How much of an operand is touched, where that is not all of it.
fn part(key: &KernelKey, size: &Size, binding: usize, seq_len: f64) -> Option<f64> {
    let constant = |name| constant(key, name);
    match (key.kernel, binding) {
        ("matmul", _) if key.features.contains(&"extended") => part_of_extended(key, binding),
        ("embed", 2..) if key.module().bindings.get(binding) == Some(&Access::Read) => {
            let rows = size.extent("quads")? * 4.0 / constant("C")?;
            Some(*size.operands.get(binding)? as f64 * rows / constant("COUNT")?)
        }
        // Of the parameters from the first A on, all A or all B. A linear that there is not has no gradient to read.
        ("low_rank_forward", 2) => Some(constant("COLUMNS")? * constant("K")? * 4.0),
        ("low_rank_backward", 4) => Some(constant("R")? * outs(key) * 4.0),
        ("low_rank_backward", 2) | ("low_rank_gradients", 5) if constant("N_1").is_none() => Some(0.0),
        ("low_rank_backward", 3) | ("low_rank_gradients", 6) if constant("N_2").is_none() => Some(0.0),
        ("learned_positions", 1) => Some(seq_len * constant("C")? * 4.0),
        ("rope", 1 | 2) => Some(seq_len * constant("D")? * 2.0),
        ("split", _) => Some(size.extent("quads")? * 16.0),
        _ => None,
    }
}

/// The last bindings of a product with low-rank terms are two more outputs or inputs, p, q and three uniforms.
fn part_of_extended(key: &KernelKey, binding: usize) -> Option<f64> {
    let linears = constant(key, "LINEARS").unwrap_or(1.0);
    let onto = key.constants.contains(&("ONTO", Constant::Bool(true)));
    match key.module().bindings.len() - binding {
        7 if linears < 2.0 => Some(0.0),
        6 if linears < 3.0 && !onto => Some(0.0),
        // Of the parameters from the first A on, all A or all B.
        4 => Some(extension(key) * constant(key, "N")? * 4.0),
        _ => None,
    }
}
