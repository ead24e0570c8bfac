//! A dispatch with everything resolved, so that replaying it looks nothing up.

use std::cell::{Ref, RefMut};
use std::rc::Rc;

use super::buffer::{Buffer, Words};
use super::card::Card;
use super::kernel::{Access, KernelKey};
use super::pipeline::{BindGroup, Pipeline};
use crate::cpu::{self, Slice};
use crate::error::{Error, Result};

pub struct Ready {
    pub key: KernelKey,
    pub groups: [u32; 3],
    bound: Bound,
}

enum Bound {
    Card {
        pipeline: Rc<Pipeline>,
        group: BindGroup,
    },
    Cpu {
        run: cpu::Run,
        ranges: Vec<BoundRange>,
    },
    /// Only keeps the buffers alive, as a card's bind group does.
    Dry {
        _buffers: Vec<Rc<Buffer>>,
    },
}

/// A range of a buffer, in words.
struct BoundRange {
    access: Access,
    words: Words,
    from: usize,
    to: usize,
}

enum Guard<'a> {
    Read(Ref<'a, Vec<u32>>),
    ReadWrite(RefMut<'a, Vec<u32>>),
}

impl BoundRange {
    fn borrow(&self) -> Guard<'_> {
        match self.access {
            Access::Uniform | Access::Read => Guard::Read(self.words.borrow()),
            Access::ReadWrite => Guard::ReadWrite(self.words.borrow_mut()),
        }
    }
}

pub(super) fn on_card(card: &Card, key: &KernelKey, groups: [u32; 3], ranges: &[(Rc<Buffer>, u64, u64)]) -> Ready {
    let pipeline = card.pipeline(key);
    let group = card.bind(&pipeline, ranges);
    Ready { key: key.clone(), groups, bound: Bound::Card { pipeline, group } }
}

pub(super) fn on_cpu(key: &KernelKey, groups: [u32; 3], ranges: &[(Rc<Buffer>, u64, u64)]) -> Result<Ready> {
    let bound = key.module().bindings.iter().zip(ranges).map(|(&access, (buffer, offset, bytes))| BoundRange {
        access,
        words: buffer.words().clone(),
        from: (offset / 4) as usize,
        to: ((offset + bytes).min(buffer.bytes) / 4) as usize,
    });
    let bound: Vec<BoundRange> = bound.collect();
    for (i, one) in bound.iter().enumerate() {
        for other in &bound[..i] {
            let written = [one, other].iter().any(|range| range.access == Access::ReadWrite);
            if written && Rc::ptr_eq(&one.words, &other.words) {
                let reason = format!("{} reads and writes one buffer at once", key.label());
                return Err(Error::GpuRefused { reason });
            }
        }
    }
    let run = key.twin();
    Ok(Ready { key: key.clone(), groups, bound: Bound::Cpu { run, ranges: bound } })
}

pub(super) fn dry(key: &KernelKey, groups: [u32; 3], ranges: &[(Rc<Buffer>, u64, u64)]) -> Ready {
    let _buffers = ranges.iter().map(|(buffer, ..)| buffer.clone()).collect();
    Ready { key: key.clone(), groups, bound: Bound::Dry { _buffers } }
}

impl Ready {
    pub(super) fn pipeline(&self) -> Option<&Rc<Pipeline>> {
        match &self.bound {
            Bound::Card { pipeline, .. } => Some(pipeline),
            Bound::Cpu { .. } | Bound::Dry { .. } => None,
        }
    }

    /// Whether there is nothing left to compile.
    pub(crate) fn is_compiled(&self) -> bool {
        self.pipeline().is_none_or(|pipeline| pipeline.is_compiled())
    }

    pub(super) fn encode(&self, pass: &mut wgpu::ComputePass<'_>, [x, y, z]: [u32; 3]) {
        let Bound::Card { pipeline, group } = &self.bound else { panic!("{} is not on a card", self.key.label()) };
        let raw = pipeline.raw.get().unwrap_or_else(|| panic!("{} was not compiled", self.key.label()));
        pass.set_pipeline(raw);
        pass.set_bind_group(0, &group.raw, &[]);
        pass.dispatch_workgroups(x, y, z);
    }

    /// Computes the whole dispatch.
    pub(super) fn run(&self) {
        let Bound::Cpu { run, ranges } = &self.bound else { panic!("{} is not on the CPU", self.key.label()) };
        let mut guards: Vec<(Guard<'_>, &BoundRange)> = ranges.iter().map(|range| (range.borrow(), range)).collect();
        let mut slices: Vec<Slice<'_>> = guards
            .iter_mut()
            .map(|(guard, BoundRange { from, to, .. })| match guard {
                Guard::Read(words) => Slice::Read(&words[*from..*to]),
                Guard::ReadWrite(words) => Slice::ReadWrite(&mut words[*from..*to]),
            })
            .collect();
        run(&mut slices);
    }
}
