//! The comparisons that every suite uses, and how it gets a device.

use std::cell::RefCell;
use std::rc::Rc;

use tabtune::adapter::Origin;
use tabtune::device::{Device, DeviceOptions, Shape, Tiling};

pub const SHAPES: [Shape; 3] = [Shape::Tiled, Shape::Direct, Shape::Cpu];

/// The shapes in which an op is tested whose one shader serves all cards.
pub const ONE_FORM: [Shape; 2] = [Shape::Direct, Shape::Cpu];

/// The shapes in which whole models are tested. A browser's software device needs about a second to compile a kernel,
/// so there they run on the processor; its shaders are tested op by op, and in the models of `golden`.
pub const MODEL_SHAPES: &[Shape] = if cfg!(target_arch = "wasm32") { &[Shape::Cpu] } else { &SHAPES };

/// The shape for tests of what depends on none.
pub const ANY_SHAPE: Shape = if cfg!(target_arch = "wasm32") { Shape::Cpu } else { Shape::Direct };

/// Of adapters that name only their base.
pub fn origin(base: &str) -> Origin {
    Origin { base: base.to_string(), base_sha256: None, weights: None, is_chat: false }
}

thread_local! {
    /// In a browser all tests share a thread and one device per shape, so that a kernel is compiled once. Natively a
    /// device must not outlive its thread's other locals, so each test has its own.
    static DEVICES: RefCell<Vec<Rc<Device>>> = const { RefCell::new(Vec::new()) };
}

/// A device whose kernels have the given shape.
pub async fn device(shape: Shape) -> Rc<Device> {
    let known = DEVICES
        .with_borrow(|devices| devices.iter().find(|device| device.shape == shape && device.alive().is_ok()).cloned());
    if let Some(device) = known {
        return device;
    }
    let device = Device::new(DeviceOptions { shape: Some(shape), ..DeviceOptions::default() }).await.expect("a device");
    if cfg!(target_arch = "wasm32") {
        DEVICES.with_borrow_mut(|devices| devices.push(device.clone()));
    }
    device
}

/// A card whose products are cut up so.
pub async fn pretending(tiling: Tiling) -> Rc<Device> {
    let options = DeviceOptions { shape: Some(Shape::Tiled), tiling, ..DeviceOptions::default() };
    Device::new(options).await.expect("a device")
}

/// Checks that every number is within `tolerance` of the reference, relative to its largest number, and returns how far
/// the worst one is, which a failure names.
pub fn close(what: &str, found: &[f32], expected: &[f32], tolerance: f64) -> f64 {
    let expected: Vec<f64> = expected.iter().map(|&x| f64::from(x)).collect();
    close64(what, found, &expected, tolerance)
}

pub fn close64(what: &str, found: &[f32], expected: &[f64], tolerance: f64) -> f64 {
    assert_eq!(found.len(), expected.len(), "{what}: lengths");
    let largest = expected.iter().fold(0.0f64, |m, x| m.max(x.abs())).max(1e-30);
    let error = |i: usize| {
        if found[i].is_finite() { (f64::from(found[i]) - expected[i]).abs() / largest } else { f64::INFINITY }
    };
    let worst = (0..found.len()).max_by(|&a, &b| error(a).total_cmp(&error(b))).unwrap_or(0);
    if found.is_empty() {
        return 0.0;
    }
    assert!(
        error(worst) <= tolerance,
        "{what}: at {worst} of {}: found {}, expected {}, relative {:e}",
        found.len(),
        found[worst],
        expected[worst],
        error(worst)
    );
    error(worst)
}
