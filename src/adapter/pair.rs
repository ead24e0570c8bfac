//! The matrices of one site on the host.

use super::spec::SiteSpec;
use crate::error::{Error, Result};
use crate::model::Config;

/// A matrix on the host, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct HostMatrix {
    pub rows: usize,
    pub cols: usize,
    pub values: Vec<f32>,
}

impl HostMatrix {
    pub(super) fn transposed(&self) -> HostMatrix {
        let column = |at| self.values.iter().skip(at).step_by(self.cols);
        let values = (0..self.cols).flat_map(column).copied().collect();
        HostMatrix { rows: self.cols, cols: self.rows, values }
    }
}

/// A [R, in] and B [out, R] of one site on the host, without padding.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    pub site: SiteSpec,
    pub a: HostMatrix,
    pub b: HostMatrix,
}

impl Pair {
    /// Errors: `AdapterMismatch` unless B A has the shape of the matrix that it is added to.
    pub fn check(&self, config: &Config) -> Result<()> {
        let (rows, cols) = self.site.target.shape(config);
        if (self.b.rows, self.a.cols) == (rows, cols) {
            return Ok(());
        }
        let module = config.family.module(self.site.layer, self.site.target);
        let reason = format!(
            "on `{module}` it changes a [{}, {}] matrix, the model's is [{rows}, {cols}]",
            self.b.rows, self.a.cols
        );
        Err(Error::AdapterMismatch { reason })
    }
}
