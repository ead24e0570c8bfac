//! A graphics card, or a software device that pretends to be one, through wgpu.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use super::buffer::{Buffer, Usage};
use super::kernel::KernelKey;
use super::pipeline::{Layouts, Pipeline};
use super::platform;
use crate::error::{Error, Result};

pub(super) struct Card {
    pub raw: wgpu::Device,
    pub queue: wgpu::Queue,
    pub pipelines: RefCell<HashMap<KernelKey, Rc<Pipeline>>>,
    pub layouts: RefCell<Layouts>,
    /// Nanoseconds per tick, if the card was opened with timestamps.
    pub tick: Option<f64>,
    lost: Arc<Mutex<Option<String>>>,
    refused: Arc<Mutex<Option<String>>>,
}

/// What a card says about itself.
pub(super) struct Facts {
    pub name: String,
    /// What measurements hold for, as far as can be told: the card, its driver and its limits. Browsers tell less.
    pub identity: String,
    pub software: bool,
    pub max_binding: u64,
    pub max_buffer: u64,
}

impl Card {
    /// Opens the card that the system prefers, with timestamps if they are wanted and it has them. Errors: `NoGpu`.
    pub async fn open(timestamps: bool) -> Result<(Card, Facts)> {
        let no_device = |reason: String| Error::NoGpu { reason };
        if !platform::has_webgpu() {
            return Err(no_device("this browser has no WebGPU".to_string()));
        }
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
        let wanted = if timestamps { wgpu::Features::TIMESTAMP_QUERY } else { wgpu::Features::empty() };
        let features = adapter.features() & wanted;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("tabtune"),
            required_features: features,
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
        let wgpu::AdapterInfo { vendor, device: model, driver, driver_info, backend, .. } = &info;
        let (binding, buffer) = (has.max_storage_buffer_binding_size, has.max_buffer_size);
        let identity = format!(
            "{backend:?} {vendor:x}:{model:x} {} {driver} {driver_info}, {binding} and {buffer} bytes",
            info.name
        );
        let facts = Facts {
            name: info.name,
            identity,
            software: info.device_type == wgpu::DeviceType::Cpu,
            max_binding: has.max_storage_buffer_binding_size.min(has.max_buffer_size),
            max_buffer: has.max_buffer_size,
        };
        let tick = (!features.is_empty()).then(|| f64::from(queue.get_timestamp_period()));
        let (pipelines, layouts) = (RefCell::default(), RefCell::default());
        Ok((Card { raw: device, queue, pipelines, layouts, tick, lost, refused }, facts))
    }

    pub fn buffer(&self, label: &str, bytes: u64, usage: Usage) -> wgpu::Buffer {
        let storage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let usage = match usage {
            Usage::Storage => storage,
            Usage::Uniform => storage | wgpu::BufferUsages::UNIFORM,
            Usage::Staging => wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            Usage::Timestamps => wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        };
        self.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some(label),
            size: bytes,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Copies between buffers in a submission of its own.
    pub fn copy(
        &self,
        from: &Buffer,
        from_offset: u64,
        to: &Buffer,
        to_offset: u64,
        bytes: u64,
    ) -> wgpu::SubmissionIndex {
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(from.raw(), from_offset, to.raw(), to_offset, Some(bytes));
        self.queue.submit([encoder.finish()])
    }

    /// Runs `make` and returns anything the card refused meanwhile as a typed error.
    pub async fn checked<T>(&self, make: impl FnOnce() -> Result<T>) -> Result<T> {
        let validation = self.raw.push_error_scope(wgpu::ErrorFilter::Validation);
        let memory = self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        // A driver that cannot compile a kernel.
        let internal = self.raw.push_error_scope(wgpu::ErrorFilter::Internal);
        let made = make();
        let internal = internal.pop();
        let memory = memory.pop();
        let validation = validation.pop();
        if memory.await.is_some() {
            return Err(Error::OutOfMemory { what: "a plan".to_string() });
        }
        if let Some(error) = validation.await.or(internal.await) {
            return Err(Error::GpuRefused { reason: error.to_string() });
        }
        made
    }

    /// Returns an error if the card is lost, or if it has refused something outside `checked`.
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
}
