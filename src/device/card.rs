//! The device: its limits, the kernel shape that suits it, buffers with a ledger of their bytes, and submissions.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::kernel::{KernelKey, Layouts, Pipeline};
use crate::error::{Error, Result};

/// Which form of a kernel suits the device, for kernels that have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// With work-group memory and barriers: for graphics cards.
    Tiled,
    /// With neither: for software devices, where both cost more than they save.
    Direct,
}

impl Shape {
    pub fn feature(self) -> &'static str {
        match self {
            Shape::Tiled => "tiled",
            Shape::Direct => "direct",
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {
    /// Overrides the shape that the kind of device suggests.
    pub shape: Option<Shape>,
    /// Pretends that a binding may hold at most this many bytes, so that tests see tensors cut into slabs.
    pub max_binding: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Read and written by kernels, filled by the host.
    Storage,
    /// Like `Storage`, and also bound as a uniform.
    Uniform,
    /// Mapped by the host to read what a kernel wrote.
    Staging,
}

/// A buffer on the device. Dropping it frees its memory at once, which garbage collection on the web would not.
pub struct Buffer {
    pub(super) raw: wgpu::Buffer,
    pub bytes: u64,
    ledger: Rc<Ledger>,
}

#[derive(Default)]
struct Ledger {
    bytes: Cell<u64>,
    peak: Cell<u64>,
    buffers: Cell<usize>,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.raw.destroy();
        self.ledger.bytes.set(self.ledger.bytes.get() - self.bytes);
        self.ledger.buffers.set(self.ledger.buffers.get() - 1);
    }
}

pub struct Device {
    pub(super) raw: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub shape: Shape,
    /// Whether the device computes on the CPU.
    pub software: bool,
    /// The driver's name for the device; empty in browsers.
    pub name: String,
    /// Largest binding in bytes.
    pub max_binding: u64,
    max_buffer: u64,
    ledger: Rc<Ledger>,
    pub(super) pipelines: RefCell<HashMap<KernelKey, Rc<Pipeline>>>,
    pub(super) layouts: RefCell<Layouts>,
    lost: Arc<Mutex<Option<String>>>,
    refused: Arc<Mutex<Option<String>>>,
}

impl Device {
    /// Opens the device that the system prefers. Errors: `NoGpu`.
    pub async fn new(options: DeviceOptions) -> Result<Rc<Device>> {
        let no_device = |reason: String| Error::NoGpu { reason };
        let instance = wgpu::Instance::default();
        let request = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&request).await.map_err(|e| no_device(e.to_string()))?;
        let (info, has) = (adapter.get_info(), adapter.limits());
        // Use the web's default limits everywhere, so that what works natively works in a tab. Only sizes are raised to
        // what the device offers.
        let limits = wgpu::Limits {
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            max_buffer_size: has.max_buffer_size,
            ..wgpu::Limits::default()
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("tabtune"),
            required_limits: limits,
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|e| no_device(e.to_string()))?;
        let lost = Arc::new(Mutex::new(None));
        let lost_here = lost.clone();
        device.set_device_lost_callback(move |_, message| {
            if let Ok(mut lost) = lost_here.lock() {
                *lost = Some(message);
            }
        });
        // Without a handler wgpu panics; with one, the next read reports what was refused.
        let refused = Arc::new(Mutex::new(None));
        let refused_here = refused.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            if let Ok(mut refused) = refused_here.lock() {
                refused.get_or_insert(error.to_string());
            }
        }));
        let software = info.device_type == wgpu::DeviceType::Cpu;
        let shape = options.shape.unwrap_or(if software { Shape::Direct } else { Shape::Tiled });
        let binding = has.max_storage_buffer_binding_size.min(has.max_buffer_size);
        Ok(Rc::new(Device {
            raw: device,
            queue,
            shape,
            software,
            name: info.name,
            max_binding: options.max_binding.unwrap_or(binding),
            max_buffer: has.max_buffer_size,
            ledger: Rc::default(),
            pipelines: RefCell::default(),
            layouts: RefCell::default(),
            lost,
            refused,
        }))
    }

    /// A zeroed buffer of at least `bytes`. Sizes are checked here because browsers throw an exception for a size that
    /// they refuse.
    pub fn buffer(&self, label: &str, bytes: u64, usage: Usage) -> Result<Rc<Buffer>> {
        let bytes = bytes.max(16).next_multiple_of(16);
        if bytes > self.max_buffer {
            return Err(Error::GpuLimit { what: label.to_string(), needed: bytes, limit: self.max_buffer });
        }
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let usage = match usage {
            Usage::Storage => storage,
            Usage::Uniform => storage | wgpu::BufferUsages::UNIFORM,
            Usage::Staging => wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        };
        let raw = self.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: false,
        });
        let ledger = &self.ledger;
        ledger.bytes.set(ledger.bytes.get() + bytes);
        ledger.peak.set(ledger.peak.get().max(ledger.bytes.get()));
        ledger.buffers.set(ledger.buffers.get() + 1);
        Ok(Rc::new(Buffer { raw, bytes, ledger: ledger.clone() }))
    }

    /// Queues a write. The length of `bytes` must be a multiple of 4.
    pub fn write(&self, buffer: &Buffer, offset: u64, bytes: &[u8]) {
        self.queue.write_buffer(&buffer.raw, offset, bytes);
    }

    /// Copies between buffers in a submission of its own.
    pub fn copy(&self, from: &Buffer, from_offset: u64, to: &Buffer, to_offset: u64, bytes: u64) {
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(&from.raw, from_offset, &to.raw, to_offset, Some(bytes));
        self.queue.submit([encoder.finish()]);
    }

    /// Runs `make` and returns anything the device refused meanwhile as a typed error.
    pub async fn checked<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let validation = self.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = make();
        let memory = memory.pop();
        let validation = validation.pop();
        if memory.await.is_some() {
            return Err(Error::GpuRefused { reason: "out of memory".to_string() });
        }
        if let Some(error) = validation.await {
            return Err(Error::GpuRefused { reason: error.to_string() });
        }
        made
    }

    /// Returns an error if the device is lost, or if it has refused something outside `checked`.
    pub fn alive(&self) -> Result<()> {
        let message = |state: &Mutex<Option<String>>| {
            state.lock().map_or_else(|_| Some("its state cannot be read".to_string()), |message| message.clone())
        };
        if let Some(reason) = message(&self.lost) {
            return Err(Error::DeviceLost { reason });
        }
        match message(&self.refused) {
            Some(reason) => Err(Error::GpuRefused { reason }),
            None => Ok(()),
        }
    }

    /// Destroys the device, as a driver reset would.
    pub fn destroy(&self) {
        self.raw.destroy();
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

    pub fn pipeline_count(&self) -> usize {
        self.pipelines.borrow().len()
    }
}
