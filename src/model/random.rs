//! A model of random numbers, for measurements that need a shape and no sense.

use std::rc::Rc;

use super::config::Config;
use super::storage::Storage;
use super::tensors::{Role, TensorSpec};
use super::transformer::{OnDevice, Transformer};
use crate::device::Device;
use crate::error::Result;
use crate::files::safetensors::Dtype;

/// How many numbers are made at a time.
const PIECE: usize = 1 << 20;
/// transformers' default for the deviation of a new model's matrices (`initializer_range`).
const DEVIATION: f64 = 0.02;

impl Transformer {
    /// A model whose matrices hold what `unit` draws from [0, 1), scaled, and are stored as those of a file of f32.
    /// Gains are 1, biases 0. Errors: `GpuLimit`, `OutOfMemory`, `DeviceLost`.
    pub async fn random(
        device: &Rc<Device>,
        config: Config,
        storage: Storage,
        unit: &mut dyn FnMut() -> f64,
    ) -> Result<Transformer> {
        let format = |spec: &TensorSpec| storage.format(spec, Dtype::F32);
        let mut model = device.checked(|| Transformer::zeros(device, config, &format)).await?;
        model.storage = storage;
        // Uniform numbers of that deviation.
        let mut number = || ((2.0 * unit() - 1.0) * DEVIATION * 3f64.sqrt()) as f32;
        for spec in model.config.tensors() {
            match (model.on_device(spec.role), spec.role) {
                (OnDevice::Weight(weight), _) => {
                    let rows = (PIECE / weight.cols / 4 * 4).max(4);
                    for slab in weight.slabs.iter() {
                        for first in (0..slab.stored.rows).step_by(rows) {
                            let count = rows.min(slab.stored.rows - first) * weight.cols;
                            slab.stored.upload(device, first, &(0..count).map(|_| number()).collect::<Vec<f32>>());
                        }
                    }
                }
                (OnDevice::Tensor(gain), Role::Norm(..) | Role::FinalNorm) => {
                    gain.upload(device, &vec![1.0; gain.rows * gain.cols]);
                }
                (OnDevice::Tensor(table), Role::Positions) => {
                    table.upload(device, &(0..table.rows * table.cols).map(|_| number()).collect::<Vec<f32>>());
                }
                (OnDevice::Tensor(_), _) => {}
            }
            device.flush().await?;
        }
        Ok(model)
    }
}
