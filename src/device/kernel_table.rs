// Every kernel, with the feature sets it is compiled with and how it is launched. `build.rs` links one WGSL module for
// each shape and feature set; `device::kernel` embeds them.
//
// `tiled` uses work-group memory (for graphics cards), `direct` does not (for software devices); without either, one
// form serves both. `f16`, `int8` and `int4` read a frozen weight stored so; trained operands are always f32.

pub struct Kernel {
    pub name: &'static str,
    /// Feature sets, without the shape.
    pub features: &'static [&'static [&'static str]],
    pub geometry: &'static [Geometry],
}

/// How a kernel is launched in one shape. If a shape has several rows, the first whose first tile covers the problem is
/// used, otherwise the last.
pub struct Geometry {
    /// The feature of the shape; empty if one form serves all.
    pub shape: &'static str,
    /// `override` constants of the shader: the invocations of a work group (GROUP) and the sizes of its arrays.
    pub constants: &'static [(&'static str, u32)],
    /// For each dimension of the grid, what it runs over and how much of that one work group covers; the op says how
    /// large it is. A dimension with 0 takes the work groups that the dimension before it cannot hold.
    pub grid: &'static [(&'static str, u32)],
}

/// The most work groups that one dimension holds on every device.
pub const MOST_GROUPS: u32 = 65_535;

const TILED: &str = "tiled";
const DIRECT: &str = "direct";

/// Features that only the direct form has, on every device: tiles of heads of 256 numbers exceed the 16 KiB of
/// work-group memory that every card has.
pub const DIRECT_ONLY: &[&str] = &["d256"];

/// One invocation per item, in work groups of 64.
macro_rules! each {
    ($item:literal) => {
        &[Geometry { shape: "", constants: &[("GROUP", 64)], grid: &[($item, 64), ($item, 0)] }]
    };
}

/// One work group of 64 per row (tiled), or one invocation per row (direct).
const BY_ROW: &[Geometry] = &[
    Geometry { shape: TILED, constants: &[("GROUP", 64)], grid: &[("rows", 1), ("rows", 0)] },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("rows", 8), ("rows", 0)] },
];

/// A single work group that reduces everything.
const ALONE: &[Geometry] = &[
    Geometry { shape: TILED, constants: &[("GROUP", 64)], grid: &[] },
    Geometry { shape: DIRECT, constants: &[("GROUP", 1)], grid: &[] },
];

/// `queries` are those of one key head: all rows times the query heads that share it.
const BY_QUERY: &[Geometry] = &[
    Geometry { shape: TILED, constants: &[("GROUP", 64), ("TILE", 16)], grid: &[("queries", 64), ("key heads", 1)] },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("rows", 8), ("query heads", 1)] },
];

const BY_KEY: &[Geometry] = &[
    Geometry { shape: TILED, constants: &[("GROUP", 64), ("TILE", 8)], grid: &[("rows", 64), ("key heads", 1)] },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("rows", 8), ("key heads", 1)] },
];

/// 8 x 4 outputs per invocation (tiled), or 8 x 16 (direct).
const MATMUL: &[Geometry] = &[
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("TILE", 64), ("DEPTH", 16)],
        grid: &[("columns", 64), ("rows", 64)],
    },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("rows", 64), ("columns", 16)] },
];

/// 8 x 4 outputs per invocation (tiled), or 8 x 8 (direct). A work group covers few columns and many rows, or the
/// reverse.
const MATMUL_TN: &[Geometry] = &[
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 1)],
        grid: &[("columns", 4), ("rows", 128)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 2)],
        grid: &[("columns", 8), ("rows", 64)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 4)],
        grid: &[("columns", 16), ("rows", 32)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 8)],
        grid: &[("columns", 32), ("rows", 16)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 16)],
        grid: &[("columns", 64), ("rows", 8)],
    },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("rows", 64), ("columns", 8)] },
];

/// Four outputs per 16 invocations (tiled), or per invocation (direct).
const MATMUL_VEC: &[Geometry] = &[
    Geometry { shape: TILED, constants: &[("GROUP", 64), ("LANES", 16)], grid: &[("columns", 16)] },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("columns", 32)] },
];

const PLAIN: &[&[&str]] = &[&[]];
/// A product over a chunk of labelled rows has no site.
const PRODUCT: &[&[&str]] = &[
    &[],
    &["site"],
    &["chunk"],
    &["nn"],
    &["nn", "site"],
    &["nn", "chunk"],
    &["f16"],
    &["f16", "chunk"],
    &["nn", "f16"],
    &["nn", "f16", "chunk"],
    &["int8"],
    &["int8", "chunk"],
    &["nn", "int8"],
    &["nn", "int8", "chunk"],
    &["int4"],
    &["int4", "chunk"],
    &["nn", "int4"],
    &["nn", "int4", "chunk"],
];
/// The register arrays that hold a head: private arrays cannot be sized when a pipeline is made.
const HEADS: &[&[&str]] = &[&["d32"], &["d64"], &["d128"], &["d256"]];

pub const KERNELS: &[Kernel] = &[
    Kernel { name: "matmul", features: PRODUCT, geometry: MATMUL },
    Kernel { name: "matmul_tn", features: &[&[], &["site"]], geometry: MATMUL_TN },
    Kernel { name: "matmul_vec", features: &[&[], &["site"], &["f16"], &["int8"], &["int4"]], geometry: MATMUL_VEC },
    Kernel { name: "embed", features: &[&[], &["f16"], &["int8"], &["int4"]], geometry: each!("quads") },
    Kernel { name: "learned_positions", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "split", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "gather_rows_forward", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "gather_rows_backward", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "add", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "bias", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "dropout", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "rms_norm_forward", features: PLAIN, geometry: BY_ROW },
    Kernel { name: "rms_norm_backward", features: PLAIN, geometry: BY_ROW },
    Kernel { name: "layer_norm_forward", features: PLAIN, geometry: BY_ROW },
    Kernel { name: "layer_norm_backward", features: PLAIN, geometry: BY_ROW },
    Kernel { name: "rope", features: PLAIN, geometry: each!("pairs") },
    Kernel { name: "attention_forward", features: HEADS, geometry: BY_QUERY },
    Kernel { name: "attention_backward_q", features: HEADS, geometry: BY_QUERY },
    Kernel { name: "attention_backward_kv", features: HEADS, geometry: BY_KEY },
    Kernel { name: "attention_cache", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "swiglu_forward", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "swiglu_backward", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "gelu_forward", features: &[&[], &["gated"]], geometry: each!("quads") },
    Kernel { name: "gelu_backward", features: &[&[], &["gated"]], geometry: each!("quads") },
    Kernel { name: "cross_entropy_forward", features: PLAIN, geometry: BY_ROW },
    Kernel {
        name: "cross_entropy_backward",
        features: PLAIN,
        geometry: &[Geometry {
            shape: "",
            constants: &[("GROUP", 64)],
            grid: &[("quads", 64), ("rows", 1), ("rows", 0)],
        }],
    },
    Kernel { name: "cross_entropy_total", features: PLAIN, geometry: ALONE },
    Kernel { name: "adamw_norm", features: PLAIN, geometry: each!("partials") },
    Kernel { name: "adamw_clip", features: PLAIN, geometry: ALONE },
    Kernel { name: "adamw", features: PLAIN, geometry: each!("quads") },
    Kernel { name: "fma_probe", features: PLAIN, geometry: each!("invocations") },
    Kernel {
        name: "copy_probe",
        features: PLAIN,
        geometry: &[Geometry {
            shape: "",
            constants: &[("GROUP", 64), ("EACH", 8)],
            grid: &[("quads", 512), ("quads", 0)],
        }],
    },
];
