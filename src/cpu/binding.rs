//! What a twin gets for each of the shader's bindings.

use super::step::{Chunk, Site, Step};

/// A bound range of a buffer, in 32-bit words.
pub enum Slice<'a> {
    Read(&'a [u32]),
    ReadWrite(&'a mut [u32]),
}

impl Slice<'_> {
    pub(super) fn words(&self) -> &[u32] {
        match self {
            Slice::Read(words) => words,
            Slice::ReadWrite(words) => words,
        }
    }

    pub(super) fn numbers(&self) -> &[f32] {
        bytemuck::cast_slice(self.words())
    }

    pub(super) fn numbers_mut(&mut self) -> &mut [f32] {
        match self {
            Slice::ReadWrite(words) => bytemuck::cast_slice_mut(words),
            Slice::Read(_) => panic!("a kernel writes to a binding that its shader only reads"),
        }
    }

    /// The uniform at binding 0 of almost every kernel.
    pub(super) fn step(&self) -> Step {
        read(self.words())
    }

    pub(super) fn site(&self) -> Site {
        read(self.words())
    }

    pub(super) fn chunk(&self) -> Chunk {
        read(self.words())
    }
}

fn read<T: bytemuck::AnyBitPattern>(words: &[u32]) -> T {
    bytemuck::pod_read_unaligned(&bytemuck::cast_slice(words)[..size_of::<T>()])
}

/// The bindings as an array, of which there are as many as the shader declares.
pub(super) fn all<'a, 'b, const N: usize>(bound: &'a mut [Slice<'b>]) -> &'a mut [Slice<'b>; N] {
    let found = bound.len();
    bound.try_into().unwrap_or_else(|_| panic!("{found} bindings, but the kernel has {N}"))
}
