//! Buffers: memory on a card, in the host's memory, or nowhere; and the ledger of their bytes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Read and written by kernels, filled by the host.
    Storage,
    /// Like `Storage`, and also bound as a uniform.
    Uniform,
    /// Mapped by the host to read what a kernel wrote.
    Staging,
    /// Filled by a card with the moments at which passes began and ended.
    Timestamps,
}

/// The memory of a buffer that the CPU computes on. Commands that wait in the queue share it.
pub(super) type Words = Rc<RefCell<Vec<u32>>>;

pub(super) enum Memory {
    Card(wgpu::Buffer),
    Cpu(Words),
    /// Of a dry device.
    None,
}

/// A buffer on the device. Dropping it frees its memory at once, which garbage collection on the web would not.
pub struct Buffer {
    pub(super) memory: Memory,
    pub bytes: u64,
    ledger: Rc<Ledger>,
}

/// Bytes and buffers that exist now, and the most bytes that existed at one time.
#[derive(Default)]
pub(super) struct Ledger {
    pub bytes: Cell<u64>,
    pub peak: Cell<u64>,
    pub buffers: Cell<usize>,
}

impl Buffer {
    pub(super) fn new(memory: Memory, bytes: u64, ledger: &Rc<Ledger>) -> Buffer {
        ledger.bytes.set(ledger.bytes.get() + bytes);
        ledger.peak.set(ledger.peak.get().max(ledger.bytes.get()));
        ledger.buffers.set(ledger.buffers.get() + 1);
        Buffer { memory, bytes, ledger: ledger.clone() }
    }

    /// The buffer of a card.
    pub(super) fn raw(&self) -> &wgpu::Buffer {
        match &self.memory {
            Memory::Card(raw) => raw,
            Memory::Cpu(_) | Memory::None => panic!("a buffer of another device is used on a card"),
        }
    }

    /// The buffer of a CPU device.
    pub(super) fn words(&self) -> &Words {
        match &self.memory {
            Memory::Cpu(words) => words,
            Memory::Card(_) | Memory::None => panic!("a buffer of another device is used on the CPU"),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Memory::Card(raw) = &self.memory {
            raw.destroy();
        }
        self.ledger.bytes.set(self.ledger.bytes.get() - self.bytes);
        self.ledger.buffers.set(self.ledger.buffers.get() - 1);
    }
}
