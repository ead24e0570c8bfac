//! Converts flat numbers to one matrix per name, without padding and under the names that other programs know, and
//! back. Anything that must outlive a version of tabtune is stored like this, because the layout of the flat buffers
//! may change.

use std::ops::Range;

use super::flat::part;
use super::keys::key;
use super::{Adapter, Full, HostMatrix, Pair};
use crate::error::Result;
use crate::model::Config;

/// Returns the numbers of a matrix, row by row, for its name and its shape [rows, cols]. It is called once per matrix,
/// in the order of the model, for A before B.
pub type Find<'a> = &'a mut dyn FnMut(&str, [usize; 2]) -> Result<Vec<f32>>;

impl Adapter {
    /// Every A and B under its PEFT name.
    ///
    /// # Panics
    ///
    /// If the padding of `flat` is not zero, because it would be lost.
    pub fn named(&self, flat: &[f32]) -> Vec<(String, HostMatrix)> {
        let pairs = self.pairs(flat);
        let again = self.flat(&pairs).unwrap_or_else(|error| unreachable!("the pairs of an adapter fit it: {error}"));
        let lost = |(was, is): (&f32, &f32)| was.to_bits() != is.to_bits() && *was != 0.0;
        let kept = again.len() == flat.len() && !flat.iter().zip(&again).any(lost);
        assert!(kept, "the padding of an adapter's numbers is not zero");
        let named = |pair: Pair| {
            let name = |which| key(self.config.family, pair.site.layer, pair.site.target, which);
            [(name('A'), pair.a), (name('B'), pair.b)]
        };
        pairs.into_iter().flat_map(named).collect()
    }

    /// The inverse of `named`, in this adapter's layout. Errors: those of `find`.
    pub fn gather(&self, find: Find) -> Result<Vec<f32>> {
        let mut pairs = self.pairs(&vec![0.0; self.length]);
        for pair in &mut pairs {
            let [a, b] = ['A', 'B'].map(|which| key(self.config.family, pair.site.layer, pair.site.target, which));
            for (name, matrix) in [(a, &mut pair.a), (b, &mut pair.b)] {
                matrix.values = found(find, &name, [matrix.rows, matrix.cols])?;
            }
        }
        self.flat(&pairs)
    }
}

impl Full {
    /// Every trained matrix under its name in a checkpoint.
    ///
    /// # Panics
    ///
    /// If the length of `flat` is not that of the trained matrices.
    pub fn named(&self, config: &Config, flat: &[f32]) -> Vec<(String, HostMatrix)> {
        assert_eq!(flat.len(), self.params.p.length(), "how many numbers the trained matrices have");
        let named = |(name, [rows, cols], range): (String, [usize; 2], Range<usize>)| {
            (name, HostMatrix { rows, cols, values: part(flat, &range).to_vec() })
        };
        self.specs(config).map(named).collect()
    }

    /// The inverse of `named`. Errors: those of `find`.
    pub fn gather(&self, config: &Config, find: Find) -> Result<Vec<f32>> {
        let mut flat = Vec::with_capacity(self.params.p.length());
        for (name, shape, range) in self.specs(config) {
            flat.resize(range.start, 0.0);
            flat.extend(found(find, &name, shape)?);
        }
        flat.resize(self.params.p.length(), 0.0);
        Ok(flat)
    }

    /// Name, shape and range of every trained matrix.
    fn specs(&self, config: &Config) -> impl Iterator<Item = (String, [usize; 2], Range<usize>)> {
        self.matrices.iter().map(|(layer, target, range)| {
            let (rows, cols) = target.shape(config);
            (config.weight(*layer, *target).name, [rows, cols], range.clone())
        })
    }
}

/// What `find` returns, which must fill the matrix.
fn found(find: Find, name: &str, shape: [usize; 2]) -> Result<Vec<f32>> {
    let values = find(name, shape)?;
    assert_eq!(values.len(), shape.iter().product::<usize>(), "how many numbers `{name}` has");
    Ok(values)
}
