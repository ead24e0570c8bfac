//! Trains an adapter on a sample text and writes it in PEFT's format: `cargo run --release --example train`.
#![cfg_attr(target_arch = "wasm32", no_main)]
#![cfg(not(target_arch = "wasm32"))]

use std::{fs, path::Path, rc::Rc, time::Instant};
use tabtune::device::{Device, DeviceOptions};
use tabtune::run::{Base, Clock, Control, Event, Hooks, Kept, Settings, Start, train};
use tabtune::text::{Document, NATIVE_LIMIT};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    pollster::block_on(async {
        let device = Device::new(DeviceOptions::default()).await?;
        let base = Base::open(&device, Path::new("www/public/base"), Default::default()).await?;
        let settings = Settings { steps: 50, ..Settings::defaults(&base.model.config, device.software) };
        let text = Document::new("cook.txt", fs::read("www/public/samples/cook.txt")?);
        let data = base.dataset(&[text], None, &settings, NATIVE_LIMIT)?;

        let emit = &mut |event: Event| println!("{}", serde_json::json!(event));
        let hooks = Hooks { emit, keep: &mut |_: &Kept| {}, save: None, helpers: &[] };
        let start = Instant::now();
        let clock: Clock = Rc::new(move || start.elapsed().as_secs_f64() * 1e3);
        let outcome = train(&base, &data, &settings, Start::Fresh, &Control::default(), &clock, hooks).await?;
        let kept = outcome.kept.expect("nobody cancels this run");
        let adapter = kept.files.adapter().expect("LoRA leaves an adapter");
        fs::create_dir_all("artefacts/example")?;
        fs::write("artefacts/example/adapter_config.json", &adapter.config)?;
        Ok(fs::write("artefacts/example/adapter_model.safetensors", &adapter.weights)?)
    })
}
