//! One interface to what computes: a graphics card, the CPU, or nothing. It knows limits, buffers and submissions.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

use super::buffer::{Buffer, Ledger, Memory, Usage};
use super::card::Card;
use super::kernel::KernelKey;
use super::kernel_table::MOST_GROUPS;
use super::pipeline::Compiling;
use super::platform;
use super::queue::Queue;
use super::ready::{self, Ready};
use super::tiling::Tiling;
use super::tuned::Tuned;
use crate::cpu;
use crate::error::{Error, Result};

/// Which form of a kernel suits the device, for kernels that have several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Shaders with work-group memory and barriers: for graphics cards.
    Tiled,
    /// Shaders with neither: for software devices, where both cost more than they save.
    Direct,
    /// No shaders: the twins of the plain form, in Rust.
    Cpu,
}

impl Shape {
    pub const fn name(self) -> &'static str {
        match self {
            Shape::Tiled => "tiled",
            Shape::Direct => "direct",
            Shape::Cpu => "cpu",
        }
    }

    /// The feature of the kernel table. A twin stands for the plain form.
    pub fn feature(self) -> &'static str {
        match self {
            Shape::Tiled => "tiled",
            Shape::Direct | Shape::Cpu => "direct",
        }
    }
}

/// What should compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Choice {
    /// A real card if there is one, else the CPU.
    #[default]
    Auto,
    /// Shaders, on whatever runs them.
    Gpu,
    Cpu,
}

impl Choice {
    /// Reads "auto", "gpu" or "cpu". Errors: `Setting`.
    pub fn parse(text: &str) -> Result<Choice> {
        match text {
            "auto" => Ok(Choice::Auto),
            "gpu" => Ok(Choice::Gpu),
            "cpu" => Ok(Choice::Cpu),
            _ => {
                let (name, value) = ("device".to_string(), text.to_string());
                Err(Error::Setting { name, value, expected: "auto, gpu or cpu".to_string() })
            }
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {
    pub choice: Choice,
    /// Overrides the shape that the kind of device suggests. `Shape::Cpu` stands for `Choice::Cpu`.
    pub shape: Option<Shape>,
    /// Pretends that a binding may hold at most this many bytes of a weight, so that tests see tensors cut into slabs.
    pub max_binding: Option<u64>,
    /// Pretends that a binding may hold at most this many bytes of an activation.
    pub max_activation: Option<u64>,
    /// Pretends that a dimension of a grid holds at most this many work groups, so that tests see grids that spill into
    /// the next one.
    pub max_groups: Option<u32>,
    /// Pretends that products are best cut up so.
    pub tiling: Tiling,
    /// The most bytes that all buffers together may take, if it is not what the device has.
    pub max_memory: Option<u64>,
    /// Asks a card for timestamps, which only measurements need.
    pub timestamps: bool,
}

pub(super) enum Executor {
    Card(Card),
    Cpu(Queue),
    /// Has limits and a ledger, but neither memory nor arithmetic.
    Dry,
}

pub struct Device {
    pub(super) executor: Executor,
    pub shape: Shape,
    /// Whether the device computes on the CPU, in shaders or in Rust.
    pub software: bool,
    /// The driver's name for the device; empty in browsers.
    pub name: String,
    /// What measurements hold for, as far as the driver tells; empty if there is no card.
    pub identity: String,
    /// Largest binding in bytes.
    pub max_binding: u64,
    /// As `max_binding`, except where tests pretend something about one of the two.
    pub(crate) max_activation: u64,
    max_buffer: u64,
    /// The most work groups in one dimension of a grid.
    pub(crate) max_groups: u32,
    pub(crate) tiling: Tiling,
    pub(super) tuned: RefCell<Tuned>,
    max_memory: u64,
    ledger: Rc<Ledger>,
    /// The kernels of the CPU's plans; those of a card are its pipelines.
    twins: RefCell<HashSet<KernelKey>>,
}

/// The largest buffer of a CPU device. In a browser, addresses have 32 bits.
const MAX_CPU_BUFFER: u64 = if cfg!(target_arch = "wasm32") { 1 << 30 } else { 1 << 40 };
/// All buffers of a CPU device. In a browser, half a GB of the four is left to everything else.
const MAX_CPU_MEMORY: u64 = if cfg!(target_arch = "wasm32") { 7 << 29 } else { u64::MAX };
/// How much memory is asked for at a time to find out how much there is.
const ROOM_PIECE: u64 = 256 << 20;

impl Device {
    /// Opens a device. Errors: `NoGpu`, if a card was asked for.
    pub async fn new(options: DeviceOptions) -> Result<Rc<Device>> {
        if options.choice == Choice::Cpu || options.shape == Some(Shape::Cpu) {
            return Ok(Device::cpu(&options));
        }
        // Whoever asks for a shape wants shaders.
        let may_be_cpu = options.choice == Choice::Auto && options.shape.is_none();
        match Card::open(options.timestamps).await {
            Ok((_, facts)) if facts.software && may_be_cpu => Ok(Device::cpu(&options)),
            Err(_) if may_be_cpu => Ok(Device::cpu(&options)),
            Err(error) => Err(error),
            Ok((card, facts)) => {
                let usual = if facts.software { Shape::Direct } else { Shape::Tiled };
                Ok(Rc::new(Device {
                    executor: Executor::Card(card),
                    shape: options.shape.unwrap_or(usual),
                    software: facts.software,
                    name: facts.name,
                    identity: facts.identity,
                    max_binding: options.max_binding.unwrap_or(facts.max_binding),
                    max_activation: options.max_activation.unwrap_or(facts.max_binding),
                    max_buffer: facts.max_buffer,
                    max_groups: options.max_groups.unwrap_or(MOST_GROUPS),
                    tiling: options.tiling,
                    tuned: RefCell::default(),
                    max_memory: options.max_memory.unwrap_or(u64::MAX),
                    ledger: Rc::default(),
                    twins: RefCell::default(),
                }))
            }
        }
    }

    fn cpu(options: &DeviceOptions) -> Rc<Device> {
        let threads = cpu::threads();
        let name = format!("CPU, {threads} thread{}", if threads == 1 { "" } else { "s" });
        Device::without_card(Executor::Cpu(Queue::default()), Shape::Cpu, name, options)
    }

    /// A device that counts what plans would take, and computes nothing. What is read from it is an error.
    pub fn dry(shape: Shape) -> Rc<Device> {
        Device::without_card(Executor::Dry, shape, "dry".to_string(), &DeviceOptions::default())
    }

    /// Whether it computes nothing and holds no numbers.
    pub fn is_dry(&self) -> bool {
        matches!(self.executor, Executor::Dry)
    }

    /// A dry device with the limits of this one.
    pub fn dry_copy(&self) -> Rc<Device> {
        Rc::new(Device {
            executor: Executor::Dry,
            shape: self.shape,
            software: self.software,
            name: "dry".to_string(),
            identity: String::new(),
            max_binding: self.max_binding,
            max_activation: self.max_activation,
            max_buffer: self.max_buffer,
            max_groups: self.max_groups,
            tiling: self.tiling,
            // What is tuned takes no more memory.
            tuned: RefCell::default(),
            max_memory: u64::MAX,
            ledger: Rc::default(),
            twins: RefCell::default(),
        })
    }

    fn without_card(executor: Executor, shape: Shape, name: String, options: &DeviceOptions) -> Rc<Device> {
        Rc::new(Device {
            executor,
            shape,
            software: true,
            name,
            identity: String::new(),
            max_binding: options.max_binding.unwrap_or(MAX_CPU_BUFFER),
            max_activation: options.max_activation.unwrap_or(MAX_CPU_BUFFER),
            max_buffer: MAX_CPU_BUFFER,
            max_groups: options.max_groups.unwrap_or(MOST_GROUPS),
            tiling: options.tiling,
            tuned: RefCell::default(),
            max_memory: options.max_memory.unwrap_or(MAX_CPU_MEMORY),
            ledger: Rc::default(),
            twins: RefCell::default(),
        })
    }

    /// A zeroed buffer of at least `bytes`. Sizes are checked here because browsers throw an exception for a size that
    /// they refuse. Errors: `GpuLimit`, `OutOfMemory`.
    pub fn buffer(&self, label: &str, bytes: u64, usage: Usage) -> Result<Rc<Buffer>> {
        let bytes = bytes.max(16).next_multiple_of(16);
        let limit = || Error::GpuLimit { what: label.to_string(), needed: bytes, limit: self.max_buffer };
        if bytes > self.max_buffer {
            return Err(limit());
        }
        let no_room = || Error::OutOfMemory { what: format!("`{label}` of {bytes} bytes") };
        if bytes > self.max_memory.saturating_sub(self.bytes()) {
            return Err(no_room());
        }
        let memory = match &self.executor {
            Executor::Card(card) => Memory::Card(card.buffer(label, bytes, usage)),
            Executor::Cpu(_) => {
                let count = usize::try_from(bytes / 4).map_err(|_| limit())?;
                // Asked for first, because the plain way to allocate ends the program if there is no room.
                Vec::<u32>::new().try_reserve_exact(count).map_err(|_| no_room())?;
                Memory::Cpu(Rc::new(RefCell::new(vec![0; count])))
            }
            Executor::Dry => Memory::None,
        };
        Ok(Rc::new(Buffer::new(memory, bytes, &self.ledger)))
    }

    /// How many of `bytes` more the device has room for, which a card tells only when it is asked for them.
    pub async fn room(&self, bytes: u64) -> u64 {
        // Buffers are multiples of 16 bytes.
        let bytes = bytes.min(self.max_memory.saturating_sub(self.bytes()) / 16 * 16);
        if !matches!(self.executor, Executor::Card(_)) {
            return bytes;
        }
        let peak = self.ledger.peak.get();
        let (mut held, mut room) = (Vec::new(), 0);
        while room < bytes {
            let piece = ROOM_PIECE.min(self.max_buffer).min(bytes - room);
            let Ok(buffer) = self.checked(|| self.buffer("room", piece, Usage::Storage)).await else { break };
            room += piece;
            held.push(buffer);
        }
        drop(held);
        self.ledger.peak.set(peak);
        room
    }

    /// Queues a write. The length of `bytes` must be a multiple of 4.
    pub fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        match &self.executor {
            Executor::Card(card) => card.queue.write_buffer(buffer.raw(), offset, bytes),
            Executor::Cpu(queue) => queue.write(buffer.words(), offset, bytes),
            Executor::Dry => {}
        }
    }

    /// Copies between buffers in a submission of its own.
    pub fn copy(&self, from: &Buffer, from_offset: u64, to: &Buffer, to_offset: u64, bytes: u64) {
        match &self.executor {
            Executor::Card(card) => drop(card.copy(from, from_offset, to, to_offset, bytes)),
            Executor::Cpu(queue) => queue.copy(from.words(), from_offset, to.words(), to_offset, bytes),
            Executor::Dry => {}
        }
    }

    /// Resolves a dispatch: its pipeline or its twin, with ranges (buffer, offset, bytes) bound in the order of the
    /// kernel's bindings. Errors: `GpuRefused` for a buffer that the kernel would read and write at once.
    pub(crate) fn resolve(
        &self,
        key: &KernelKey,
        groups: [u32; 3],
        ranges: &[(Rc<Buffer>, u64, u64)],
    ) -> Result<Ready> {
        match &self.executor {
            Executor::Card(card) => Ok(ready::on_card(card, key, groups, ranges)),
            Executor::Cpu(_) => {
                self.twins.borrow_mut().insert(key.clone());
                ready::on_cpu(key, groups, ranges)
            }
            Executor::Dry => {
                self.twins.borrow_mut().insert(key.clone());
                Ok(ready::dry(key, groups, ranges))
            }
        }
    }

    /// Starts to compile what dispatches need. A browser compiles all those that were started side by side.
    pub(crate) fn start_compiling(&self, ready: &Ready) -> Option<Compiling> {
        match &self.executor {
            Executor::Card(card) => ready.pipeline().map(|pipeline| card.start_compiling(pipeline)),
            Executor::Cpu(_) | Executor::Dry => None,
        }
    }

    /// Makes a dispatch ready to be submitted, and runs a single work group of it, because a browser may leave some of
    /// the work to the first dispatch.
    pub(crate) fn finish_compiling(&self, ready: &Ready, compiling: Compiling) {
        if let Executor::Card(card) = &self.executor {
            card.finish_compiling(compiling);
            card.encode([(ready, [1; 3])].into_iter());
        }
    }

    /// Submits dispatches of a plan. Panics if a pipeline was not compiled.
    pub(crate) fn submit(&self, all: &Rc<[Ready]>, range: Range<usize>) {
        match &self.executor {
            Executor::Card(card) => card.encode(all[range].iter().map(|ready| (ready, ready.groups))),
            Executor::Cpu(queue) => queue.run(all, range),
            Executor::Dry => {}
        }
    }

    /// Milliseconds in which the host encodes these dispatches as `submit` does, without submitting them. `None` where
    /// nothing is encoded.
    pub(crate) fn time_to_encode(&self, all: &[Ready]) -> Option<f64> {
        let Executor::Card(card) = &self.executor else { return None };
        let start = platform::now();
        drop(card.record(all.iter().map(|ready| (ready, ready.groups))));
        Some(platform::now() - start)
    }

    /// Runs `make` and returns anything the device refused meanwhile as a typed error.
    pub async fn checked<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.executor {
            Executor::Card(card) => card.checked(make).await,
            Executor::Cpu(_) | Executor::Dry => make(),
        }
    }

    /// Returns an error if the device is lost, or if it has refused something outside `checked`.
    pub fn alive(&self) -> Result<()> {
        match &self.executor {
            Executor::Card(card) => card.alive(),
            Executor::Cpu(queue) => queue.alive(),
            Executor::Dry => Ok(()),
        }
    }

    /// Destroys the device, as a driver reset would.
    pub fn destroy(&self) {
        match &self.executor {
            Executor::Card(card) => card.raw.destroy(),
            Executor::Cpu(queue) => queue.destroy(),
            Executor::Dry => {}
        }
    }

    /// Bytes currently held in buffers.
    pub fn bytes(&self) -> u64 {
        self.ledger.bytes.get()
    }

    /// The most bytes held in buffers at one time.
    pub fn peak_bytes(&self) -> u64 {
        self.ledger.peak.get()
    }

    pub fn buffer_count(&self) -> usize {
        self.ledger.buffers.get()
    }

    /// How many different kernels the plans of this device use.
    pub fn pipeline_count(&self) -> usize {
        match &self.executor {
            Executor::Card(card) => card.pipelines.borrow().len(),
            Executor::Cpu(_) | Executor::Dry => self.twins.borrow().len(),
        }
    }

    /// Whether there is nothing left to compile for this kernel.
    pub fn is_compiled(&self, key: &KernelKey) -> bool {
        match &self.executor {
            Executor::Card(card) => card.pipelines.borrow().get(key).is_some_and(|pipeline| pipeline.is_compiled()),
            Executor::Cpu(_) | Executor::Dry => true,
        }
    }
}
