//! The promise of the page's sample texts: with the default settings, the built-in model soon learns each of them.

use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use tabtune::device::{Choice, Device, DeviceOptions};
use tabtune::run::{Base, Clock, Control, Event, Hooks, Settings, Start, train};
use tabtune::text::{Document, NATIVE_LIMIT};

const PUBLIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www/public");
/// A tenth of what a visitor waits for: the loss is near its lowest after 30 to 60 steps.
const STEPS: u32 = 15;
/// In nats per token, on rows that the model never learns from.
const LEAST_GAIN: f64 = 0.35;

#[test]
fn each_sample_is_learnt_within_fifteen_steps_of_the_default_settings() {
    pollster::block_on(async {
        let options = DeviceOptions { choice: Choice::Cpu, ..DeviceOptions::default() };
        let device = Device::new(options).await.expect("a device");
        let folder = Path::new(PUBLIC).join("base");
        let base = Base::open(&device, &folder, Default::default()).await.expect("the built-in model");
        let settings = Settings { steps: STEPS, eval_every: STEPS, ..Settings::defaults(&base.model.config, true) };
        for name in ["captain.txt", "cook.txt", "jester.txt"] {
            let bytes = std::fs::read(Path::new(PUBLIC).join("samples").join(name)).expect("a sample");
            let data = base.dataset(&[Document::new(name, bytes)], None, &settings, NATIVE_LIMIT).expect("rows");
            let mut losses = Vec::new();
            let emit = &mut |event: Event| {
                if let Event::Eval { loss, .. } = event {
                    losses.push(loss.expect("a held-out loss"));
                }
            };
            let hooks = Hooks { emit, keep: &mut |_| {}, save: None, helpers: &[] };
            let start = Instant::now();
            let clock: Clock = Rc::new(move || start.elapsed().as_secs_f64() * 1e3);
            train(&base, &data, &settings, Start::Fresh, &Control::default(), &clock, hooks).await.expect("a run");
            let [before, after] = losses[..] else { panic!("{name}: {losses:?}") };
            assert!(before - after >= LEAST_GAIN, "{name}: {before} became {after}");
        }
    });
}
