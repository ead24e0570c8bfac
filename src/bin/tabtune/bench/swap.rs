//! Another adapter for a model that generates.

use std::rc::Rc;
use std::time::Instant;

use tabtune::adapter::{Adapter, AdapterFiles};
use tabtune::device::Device;
use tabtune::error::Result;
use tabtune::generate::Generator;
use tabtune::model::Storage;
use tabtune::run::Settings;

use crate::terminal::print;

/// Another adapter of the embedded base: in the place of the one that is attached, and with new plans for it. Parsing
/// the files is part of both.
pub async fn swap(device: &Rc<Device>) -> Result<()> {
    let base = crate::base::load(device, None, Storage::default()).await?;
    let config = &base.model.config;
    let adapter = Adapter::new(device, config, Settings::defaults(config, device.software).check(config)?)?;
    let files: Vec<AdapterFiles> =
        (0..2).map(|seed| AdapterFiles::new(&adapter, &adapter.initial(seed), &base.origin(false))).collect();
    let (mut attached, model) = base.load_adapter(&files[0])?;
    let generator = Generator::new(&model).await?;
    let (mut swapped, mut planned) = (f64::INFINITY, f64::INFINITY);
    for files in files.iter().cycle().take(20) {
        let start = Instant::now();
        attached.swap(device, files)?;
        device.finished().await?;
        swapped = swapped.min(start.elapsed().as_secs_f64() * 1000.0);
    }
    for files in &files {
        let start = Instant::now();
        let fresh = Generator::new(&base.with_adapter(files)?).await?;
        device.finished().await?;
        planned = planned.min(start.elapsed().as_secs_f64() * 1000.0);
        drop(fresh);
    }
    drop(generator);
    say!("another adapter of rank {}, {} bytes of numbers", attached.spec.rank(), attached.length * 4);
    say!("  swapped in {swapped:.1} ms; attached with new plans, kernels compiled, in {planned:.1} ms");
    Ok(())
}
