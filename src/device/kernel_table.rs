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

/// How a kernel is launched in one shape. If a shape has several rows, `tiling` chooses among those with a TILE_M; else
/// the first whose first tile covers the problem is used, otherwise the last.
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

/// Features that only the direct form has. One tiled form serves all heads.
const DIRECT_ONLY: &[&str] = &["d32"];

/// The features of a module: its shape, which may be empty, and those of a feature set that this shape has.
pub fn features_of(shape: &'static str, set: &[&'static str]) -> Vec<&'static str> {
    let has = |feature: &&str| shape != TILED || !DIRECT_ONLY.contains(feature);
    let shape = Some(shape).filter(|shape| !shape.is_empty());
    shape.into_iter().chain(set.iter().copied().filter(has)).collect()
}

/// Features that only the tiled form has: on a software device, to compute something once for each tile costs more than
/// to store it, and dispatches cost little.
pub const TILED_ONLY: &[&str] = &["dz", "extended"];

/// Whether a shape has a form with these features.
pub fn has_form(shape: &str, features: &[&str]) -> bool {
    let has = |only: &[&str]| features.iter().any(|feature| only.contains(feature));
    match shape {
        TILED => has(TILED_ONLY) || !(has(&["nn"]) && has(&["chunk"])),
        DIRECT => !has(TILED_ONLY),
        _ => true,
    }
}

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

/// A tile of attention covers a head size; as attention_tile.wesl says, GROUP invocations own OWN heads.
macro_rules! attention_tile {
    ($of:literal, $group:literal, $own:literal, $passing:literal, $width:literal, $depth:literal, $slice:literal,
     $notes:literal) => {
        Geometry {
            shape: TILED,
            constants: &[
                ("GROUP", $group),
                ("OWN", $own),
                ("PASSING", $passing),
                ("WIDTH", $width),
                ("DEPTH", $depth),
                ("SLICE", $slice),
                ("NOTES", $notes),
            ],
            grid: &[("head size", $width), ($of, $own), ("key heads", 1)],
        }
    };
}

/// `queries` are those of one key head: all rows times the query heads that share it.
const BY_QUERY: &[Geometry] = &[
    attention_tile!("queries", 64, 64, 16, 32, 16, 16, 4),
    attention_tile!("queries", 128, 64, 32, 64, 16, 16, 8),
    attention_tile!("queries", 128, 32, 64, 128, 16, 8, 16),
    attention_tile!("queries", 128, 16, 128, 256, 8, 4, 32),
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("query items", 8), ("query items", 0)] },
];

const BY_KEY: &[Geometry] = &[
    attention_tile!("rows", 64, 32, 32, 32, 16, 16, 0),
    attention_tile!("rows", 128, 32, 64, 64, 16, 16, 0),
    attention_tile!("rows", 128, 16, 128, 128, 8, 8, 0),
    attention_tile!("rows", 128, 8, 256, 256, 4, 4, 0),
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("key items", 8), ("key items", 0)] },
];

/// A tile of $m x $n outputs, of which each invocation computes $down x $across blocks of 4 x 4. Tiles of $depth
/// numbers of K take at most 16 KiB of work-group memory.
macro_rules! tile {
    ($m:literal x $n:literal x $depth:literal, $down:literal x $across:literal, pad $pad:literal) => {
        Geometry {
            shape: TILED,
            constants: &[
                ("GROUP", $m * $n / (16 * $down * $across)),
                ("TILE_M", $m),
                ("TILE_N", $n),
                ("DEPTH", $depth),
                ("DOWN", $down),
                ("ACROSS", $across),
                ("PAD", $pad),
            ],
            grid: &[("columns", $n), ("rows", $m), ("splits", 1)],
        }
    };
}

/// Of the tiles, `tiling` chooses one by what a product costs. Direct: a block of 32 x 16 outputs per invocation.
const MATMUL: &[Geometry] = &[
    tile!(64 x 16 x 32, 1 x 1, pad 0),
    tile!(32 x 32 x 32, 1 x 1, pad 0),
    tile!(64 x 64 x 32, 2 x 1, pad 0),
    tile!(64 x 64 x 16, 2 x 1, pad 1),
    tile!(64 x 64 x 16, 2 x 2, pad 0),
    tile!(128 x 64 x 16, 2 x 2, pad 0),
    tile!(64 x 128 x 16, 2 x 2, pad 0),
    tile!(128 x 128 x 16, 4 x 2, pad 0),
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("blocks", 8), ("blocks", 0)] },
];

/// 8 x 4 outputs per invocation (tiled): a work group covers few columns and many rows, or the reverse. Or blocks of
/// 8 x 8, one per invocation (direct).
const MATMUL_TN: &[Geometry] = &[
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 1)],
        grid: &[("columns", 4), ("rows", 128), ("splits", 1)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 2)],
        grid: &[("columns", 8), ("rows", 64), ("splits", 1)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 4)],
        grid: &[("columns", 16), ("rows", 32), ("splits", 1)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 8)],
        grid: &[("columns", 32), ("rows", 16), ("splits", 1)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("CELLS", 16), ("ACROSS", 16)],
        grid: &[("columns", 64), ("rows", 8), ("splits", 1)],
    },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("blocks", 8), ("blocks", 0)] },
];

/// Four outputs per 16 invocations (tiled), or per invocation (direct).
const MATMUL_VEC: &[Geometry] = &[
    Geometry { shape: TILED, constants: &[("GROUP", 64), ("LANES", 16)], grid: &[("columns", 16)] },
    Geometry { shape: DIRECT, constants: &[("GROUP", 8)], grid: &[("columns", 32)] },
];

/// Blocks of 4 x 4 outputs. A work group takes fewer of them, and cuts their sums into more slices, where it would take
/// more blocks to make 264 groups: two for each multiprocessor of a large card.
const LOW_RANK: &[Geometry] = &[
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("SLICES", 64)],
        grid: &[("blocks", 4 * 264), ("blocks", 2), ("blocks", 0)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 128), ("SLICES", 32)],
        grid: &[("blocks", 8 * 264), ("blocks", 4), ("blocks", 0)],
    },
    Geometry { shape: TILED, constants: &[("GROUP", 128), ("SLICES", 16)], grid: &[("blocks", 8), ("blocks", 0)] },
];

/// Cells of 8 x 4 outputs: there are few of them and many rows to sum over. The same holds for slices of the rows.
const LOW_RANK_GRADIENTS: &[Geometry] = &[
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 256), ("CELLS", 1)],
        grid: &[("cells", 2 * 264), ("cells", 1), ("cells", 0)],
    },
    Geometry {
        shape: TILED,
        constants: &[("GROUP", 256), ("CELLS", 2)],
        grid: &[("cells", 4 * 264), ("cells", 2), ("cells", 0)],
    },
    Geometry { shape: TILED, constants: &[("GROUP", 256), ("CELLS", 4)], grid: &[("cells", 4), ("cells", 0)] },
];

const PLAIN: &[&[&str]] = &[&[]];
/// A product over a chunk of labelled rows has no site. With `dz` it takes logits for their gradient.
const PRODUCT: &[&[&str]] = &[
    &[],
    &["site"],
    &["chunk"],
    &["nn"],
    &["nn", "site"],
    &["nn", "chunk"],
    &["nn", "chunk", "dz"],
    &["f16"],
    &["f16", "chunk"],
    &["nn", "f16"],
    &["nn", "f16", "chunk"],
    &["nn", "f16", "chunk", "dz"],
    &["int8"],
    &["int8", "chunk"],
    &["nn", "int8"],
    &["nn", "int8", "chunk"],
    &["nn", "int8", "chunk", "dz"],
    &["int4"],
    &["int4", "chunk"],
    &["nn", "int4"],
    &["nn", "int4", "chunk"],
    &["nn", "int4", "chunk", "dz"],
    &["extended"],
    &["nn", "extended"],
    &["f16", "extended"],
    &["nn", "f16", "extended"],
    &["int8", "extended"],
    &["nn", "int8", "extended"],
    &["int4", "extended"],
    &["nn", "int4", "extended"],
];
/// In the direct form, heads of at most 32 numbers are kept in named matrices, others in arrays.
const HEADS: &[&[&str]] = &[&["d32"], &[]];

pub const KERNELS: &[Kernel] = &[
    Kernel { name: "matmul", features: PRODUCT, geometry: MATMUL },
    Kernel { name: "matmul_tn", features: &[&[], &["site"]], geometry: MATMUL_TN },
    Kernel { name: "matmul_sum", features: &[&[], &["site"], &["chunk"]], geometry: each!("quads") },
    Kernel { name: "matmul_vec", features: &[&[], &["site"], &["f16"], &["int8"], &["int4"]], geometry: MATMUL_VEC },
    Kernel { name: "low_rank_forward", features: PLAIN, geometry: LOW_RANK },
    Kernel { name: "low_rank_backward", features: PLAIN, geometry: LOW_RANK },
    Kernel { name: "low_rank_gradients", features: PLAIN, geometry: LOW_RANK_GRADIENTS },
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
