//! `tabtune train`: flags to settings, events to the terminal and a log, adapters and run states to a folder.

mod flags;
mod inputs;
mod outputs;
mod screen;
mod settings;

use std::process::ExitCode;
use std::rc::Rc;
use std::time::Instant;

use tabtune::device::Device;
use tabtune::error::Result;
use tabtune::run::{
    self, Base, Clock, Control, Event, Hooks, Method, Outcome, SaveHook, SaveWhen, Settings, Start, Storing, Wish,
};
use tabtune::text::dataset::Dataset;

pub use flags::TrainArgs;
use inputs::Inputs;
use outputs::Outputs;

use crate::base;
use crate::measured::Cards;

pub async fn train(args: TrainArgs) -> Result<ExitCode> {
    args.check_numbers()?;
    let mut inputs = Inputs::read(&args)?;
    let device = args.model.device.open_within(args.memory_limit).await?;
    let cards = Cards::of_user();
    cards.recall(&device);
    let Storing { storage, warning } = storing(&args, &inputs, &device).await?;
    let mut base = args.model.load_stored(&device, storage).await?;
    base.model.warnings.extend(warning);
    let config = &base.model.config;

    let mut settings = args.settings(inputs.usual_settings(config, &device), inputs.init.as_ref(), config)?;
    args.check_paths(settings.method)?;
    let data = inputs.dataset(&base, &settings)?;
    let resumed_steps = inputs.resumed.as_ref().map(|state| state.settings.steps);
    settings.steps = args.steps(&settings, data.groups(settings.packing).len(), resumed_steps);
    settings.check(config)?;
    inputs.check(&settings, args.model.storage(inputs.storage())?)?;

    let companions = match settings.method {
        Method::Lora => Vec::new(),
        Method::Full => base::companions(args.model.model.as_deref()).await?,
    };
    let outputs = Outputs::open(&args, companions, settings.steps, inputs.resumed.is_some())?;
    let emit = &mut |event: Event| {
        // What there was to measure has been measured.
        if let Event::Config { .. } = event {
            cards.keep(&device);
        }
        outputs.event(&event);
    };
    let outcome = run(&base, &data, &settings, inputs.start(), emit, &outputs, args.save_every_ms()).await?;
    outputs.finish(outcome, base.model.device.peak_bytes())
}

/// How the weights of the run are stored. A run for which there is no memory is refused before its weights are read.
/// Errors: `MemoryLimit`.
async fn storing(args: &TrainArgs, inputs: &Inputs, device: &Device) -> Result<Storing> {
    let checkpoint = base::checkpoint(args.model.model.as_deref()).await?;
    let usual = inputs.usual_settings(&checkpoint.config, device);
    let settings = args.settings(usual, inputs.init.as_ref(), &checkpoint.config)?;
    let asked = args.model.storage(inputs.storage())?;
    match inputs.resumed {
        Some(_) => Storing::keep(device, &checkpoint, asked, &settings).await,
        None => Storing::choose(device, &checkpoint, asked, &settings).await,
    }
}

/// Trains until the end or Ctrl-C.
async fn run(
    base: &Base,
    data: &Dataset,
    settings: &Settings,
    start: Start<'_>,
    emit: &mut dyn FnMut(Event),
    outputs: &Outputs,
    every_ms: f64,
) -> Result<Outcome> {
    let control = Control::default();
    stop_on_interrupt(&control);
    let begun = Instant::now();
    let clock: Clock = Rc::new(move || begun.elapsed().as_secs_f64() * 1000.0);
    let hooks = Hooks {
        emit,
        keep: &mut |kept| outputs.keep(kept),
        save: Some(SaveHook { when: SaveWhen::EveryMs(every_ms), save: &mut |bytes| outputs.save(&bytes) }),
        helpers: &[],
    };
    run::train(base, data, settings, start, &control, &clock, hooks).await
}

/// The first Ctrl-C stops after the step under way and keeps the adapter; the second ends the process at once.
fn stop_on_interrupt(control: &Control) {
    let control = control.clone();
    let handler = move || {
        if control.wish() == Wish::Stop {
            std::process::exit(130);
        }
        control.set(Wish::Stop);
        eprintln!("stopping after this step; press Ctrl-C again to end at once");
    };
    // Without a handler Ctrl-C ends the process, as it always did; the last run state is on disk.
    let _ = ctrlc::set_handler(handler);
}
