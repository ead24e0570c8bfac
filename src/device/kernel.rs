//! The table of kernels that `build.rs` links: for every kernel with a direct form a twin, and for every shape and
//! feature set of it a module. What a dispatch names is (kernel, features, constants).

use std::fmt;

use super::device::Shape;
use super::kernel_table::{Geometry, KERNELS};
use super::tiling::Tiling;
use crate::cpu;

/// How a kernel uses a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    Uniform,
    Read,
    ReadWrite,
}

pub struct Module {
    pub kernel: &'static str,
    pub features: &'static [&'static str],
    pub bindings: &'static [Access],
    pub overrides: &'static [Override],
    pub wgsl: &'static str,
}

/// A constant declared by a module, as `override`.
pub struct Override {
    pub name: &'static str,
    pub kind: ConstantKind,
    /// Whether a value must be given, because there is no default.
    pub required: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConstantKind {
    U32,
    F32,
    Bool,
}

include!(concat!(env!("OUT_DIR"), "/modules.rs"));

/// The value of an `override` constant. Real numbers are kept as bits, so that keys can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Constant {
    U32(u32),
    F32(u32),
    Bool(bool),
}

impl Constant {
    fn kind(self) -> ConstantKind {
        match self {
            Constant::U32(_) => ConstantKind::U32,
            Constant::F32(_) => ConstantKind::F32,
            Constant::Bool(_) => ConstantKind::Bool,
        }
    }

    /// The 32 bits that a shader sees.
    fn bits(self) -> u32 {
        match self {
            Constant::U32(value) => value,
            Constant::F32(bits) => bits,
            Constant::Bool(value) => u32::from(value),
        }
    }
}

impl fmt::Display for Constant {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Constant::U32(value) => write!(f, "{value}"),
            Constant::F32(bits) => write!(f, "{:e}", f32::from_bits(*bits)),
            Constant::Bool(value) => write!(f, "{value}"),
        }
    }
}

impl From<usize> for Constant {
    fn from(value: usize) -> Constant {
        Constant::U32(u32::try_from(value).unwrap_or_else(|_| panic!("{value} does not fit a 32-bit constant")))
    }
}

impl From<f32> for Constant {
    fn from(value: f32) -> Constant {
        Constant::F32(value.to_bits())
    }
}

impl From<bool> for Constant {
    fn from(value: bool) -> Constant {
        Constant::Bool(value)
    }
}

/// Values for a kernel's `override` constants, in the order in which the op and the kernel table list them.
pub type Constants = Vec<(&'static str, Constant)>;

/// The size of each dimension of a problem, under the names that the kernel table uses.
pub type Extents<'a> = &'a [(&'static str, usize)];

/// What identifies a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KernelKey {
    pub kernel: &'static str,
    pub features: Vec<&'static str>,
    pub constants: Constants,
}

impl Geometry {
    /// Whether the kernel has a form for this shape. An op whose kernel has none records its plain form.
    pub fn exists(kernel: &str, shape: Shape) -> bool {
        let rows = KERNELS.iter().filter(|row| row.name == kernel).flat_map(|row| row.geometry);
        rows.into_iter().any(|geometry| ["", shape.feature()].contains(&geometry.shape))
    }

    /// The row of the table for a kernel with these features in a shape: the tile that costs least, or the first row
    /// whose first tile covers the problem, otherwise the last.
    pub fn of(
        kernel: &str,
        features: &[&str],
        shape: Shape,
        extents: Extents<'_>,
        tiling: Tiling,
    ) -> &'static Geometry {
        let Some(row) = KERNELS.iter().find(|row| row.name == kernel) else { panic!("kernel table: no {kernel}") };
        let fits = |geometry: &&Geometry| ["", shape.feature()].contains(&geometry.shape);
        let covers = |geometry: &&Geometry| {
            geometry.grid.first().is_none_or(|(name, tile)| extent(kernel, extents, name) <= *tile as usize)
        };
        let candidates = || row.geometry.iter().filter(fits);
        if candidates().any(|geometry| geometry.constant("TILE_M").is_some()) {
            return tiling.tile(kernel, features, extents);
        }
        let chosen = candidates().find(covers).or(candidates().next_back());
        chosen.unwrap_or_else(|| panic!("kernel table: {kernel} has no row for {shape:?}"))
    }

    /// A constant of this row.
    pub fn constant(&self, name: &str) -> Option<u32> {
        self.constants.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The number of work groups that cover a problem, per dimension, each of which should hold at most `most`.
    pub fn groups(&self, kernel: &str, extents: Extents<'_>, most: u32) -> [u32; 3] {
        let mut groups = [1; 3];
        for (dimension, (name, tile)) in self.grid.iter().enumerate() {
            groups[dimension] = match *tile {
                0 => {
                    let all = groups[dimension - 1];
                    groups[dimension - 1] = all.min(most);
                    all.div_ceil(groups[dimension - 1].max(1))
                }
                tile => extent(kernel, extents, name).div_ceil(tile as usize) as u32,
            };
        }
        groups
    }
}

pub(super) fn extent(kernel: &str, extents: Extents<'_>, name: &str) -> usize {
    let found = extents.iter().find(|(other, _)| *other == name);
    found.unwrap_or_else(|| panic!("{kernel}: the op does not say how many {name} there are")).1
}

impl KernelKey {
    /// The linked module. Asking for a pair that the table lacks is a bug in `ops`, found by every test that records a
    /// plan.
    pub fn module(&self) -> &'static Module {
        let same = |m: &&Module| {
            m.kernel == self.kernel
                && m.features.len() == self.features.len()
                && self.features.iter().all(|f| m.features.contains(f))
        };
        let module = MODULES.iter().find(same);
        module.unwrap_or_else(|| panic!("kernel table: no {} with {:?}", self.kernel, self.features))
    }

    /// The kernel in Rust, with these constants.
    pub(super) fn twin(&self) -> cpu::Run {
        let twin = TWINS.iter().find(|(kernel, _)| *kernel == self.kernel);
        let (_, make) = twin.unwrap_or_else(|| panic!("kernel table: {} has no twin", self.kernel));
        let values: Vec<_> = self.constants.iter().map(|(name, value)| (*name, value.bits())).collect();
        make(&cpu::Constants { values: &values, features: &self.features })
    }

    /// Panics unless every constant exists in the module, has the right type and is given once, and none is missing.
    pub fn check_constants(&self) {
        let (label, overrides) = (self.label(), self.module().overrides);
        for (i, (name, value)) in self.constants.iter().enumerate() {
            let known = overrides.iter().find(|known| known.name == *name);
            let known = known.unwrap_or_else(|| panic!("{label} has no constant {name}"));
            assert_eq!(known.kind, value.kind(), "{label}: the type of {name}");
            assert!(self.constants[..i].iter().all(|(other, _)| other != name), "{label}: {name} is given twice");
        }
        for known in overrides.iter().filter(|known| known.required) {
            let given = self.constants.iter().any(|(name, _)| *name == known.name);
            assert!(given, "{label}: the constant {} is missing", known.name);
        }
    }

    /// The module's text with the values of its constants: only a `const` can be the size of a nested array.
    pub fn wgsl(&self) -> String {
        let mut wgsl = String::new();
        for line in self.module().wgsl.lines() {
            match line.strip_prefix("override ") {
                Some(declaration) => wgsl += &self.declaration(declaration),
                None => wgsl += line,
            }
            wgsl.push('\n');
        }
        wgsl
    }

    /// What declares a constant, of the text after `override`: `NAME: TYPE;` or `NAME: TYPE = DEFAULT;`.
    fn declaration(&self, declaration: &str) -> String {
        let declared = declaration.split(['=', ';']).next().unwrap_or_default().trim_end();
        let name = declared.split(':').next().unwrap_or_default();
        match self.constants.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => format!("const {declared} = {value};"),
            None => format!("const {declaration}"),
        }
    }

    /// The name that tools and listings show: kernel and features.
    pub fn label(&self) -> String {
        let mut label = self.kernel.to_string();
        for feature in &self.features {
            label.push('-');
            label.push_str(feature);
        }
        label
    }
}
