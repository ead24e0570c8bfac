//! `tabtune bench`: what the device can do at most, the matmul in every form beside that, and a training step, in one
//! run; or a step of one model, and what its kernels take.

use std::rc::Rc;

use clap::Args;
use tabtune::device::{Choice, Device, DeviceOptions, Shape};
use tabtune::error::{Error, Result};
use tabtune::model::{Storage, Transformer};
use tabtune::plan::{Profile, Timer};
use tabtune::run::Settings;

use crate::cli::ModelArgs;
use crate::terminal::print;

/// A line of the result.
macro_rules! say {
    ($($words:tt)*) => {
        print(&format!("{}\n", format_args!($($words)*)))?
    };
}

mod probes;
mod products;
mod profile;
mod shapes;
mod step;
mod swap;

use probes::Probes;
use profile::Table;
use step::Step;

#[derive(Args)]
pub struct BenchArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Random numbers in the shape of a published model, of which nothing is downloaded
    #[arg(long, value_name = "NAME", conflicts_with = "model", value_parser = shapes::names())]
    shape: Option<String>,
    /// Rows of a step [default: as for `train`]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Tokens of a row [default: as for `train`]
    #[arg(long, value_name = "N")]
    seq_len: Option<usize>,
    /// Run every kernel in a pass of its own, and list what each takes of a step
    #[arg(long)]
    profile: bool,
    /// On a graphics card, do not measure first how the largest products are fastest there
    #[arg(long)]
    no_autotune: bool,
    /// The form of the kernels: `tiled` suits cards, `direct` software drivers [default: what suits the device]
    #[arg(long, value_name = "FORM", value_parser = ["tiled", "direct"], hide_possible_values = true)]
    kernels: Option<String>,
}

impl BenchArgs {
    /// Whether a single model is measured, on a single device.
    fn is_about_one(&self) -> bool {
        let sizes = self.batch.or(self.seq_len).is_some();
        self.profile || sizes || self.shape.is_some() || self.model.model.is_some() || self.kernels.is_some()
    }

    fn form(&self) -> Option<Shape> {
        let forms = [Shape::Tiled, Shape::Direct];
        forms.into_iter().find(|form| self.kernels.as_deref() == Some(form.name()))
    }

    /// The model and what it is called.
    async fn load(&self, device: &Rc<Device>) -> Result<(Transformer, String)> {
        match &self.shape {
            Some(name) => {
                let storage = self.model.storage(Storage::default())?;
                Ok((shapes::model(device, name, storage).await?, format!("the shape {name}")))
            }
            None if self.model.model.is_none() => {
                Ok((self.model.load_stored(device, Storage::default()).await?.model, "the embedded model".to_string()))
            }
            None => {
                let base = self.model.load_stored(device, Storage::default()).await?;
                Ok((base.model, base.name))
            }
        }
    }

    fn settings(&self, model: &Transformer) -> Settings {
        let usual = Settings::defaults(&model.config, model.device.software);
        let (batch, seq_len) = (self.batch.unwrap_or(usual.batch), self.seq_len.unwrap_or(usual.seq_len));
        Settings { batch, seq_len, autotune: !self.no_autotune, ..usual }
    }
}

pub async fn bench(args: &BenchArgs) -> Result<()> {
    if args.is_about_one() {
        return one(args).await;
    }
    let shapes: &[Shape] = match args.model.device.choice()? {
        Choice::Auto => &[Shape::Cpu, Shape::Direct, Shape::Tiled],
        Choice::Gpu => &[Shape::Direct, Shape::Tiled],
        Choice::Cpu => &[Shape::Cpu],
    };
    let chosen = args.model.device.open().await?;
    for &shape in shapes {
        let options = DeviceOptions { shape: Some(shape), timestamps: true, ..DeviceOptions::default() };
        let device = Device::new(options).await?;
        let timer = Timer::of(&device);
        let probes = most(&device, timer).await?;
        products::products(&device, &probes, timer).await?;
    }
    let (model, name) = args.load(&chosen).await?;
    Step::measure(&model, &name, &args.settings(&model), None, Timer::of(&chosen)).await?;
    swap::swap(&chosen).await
}

/// A step of one model, on the device that is chosen.
async fn one(args: &BenchArgs) -> Result<()> {
    let choice = args.model.device.choice()?;
    let options = DeviceOptions { choice, shape: args.form(), timestamps: true, ..DeviceOptions::default() };
    let device = args.model.device.open_with(options).await?;
    let timer = if args.profile { Timer::of_passes(&device) } else { Timer::of(&device) };
    let probes = most(&device, timer).await?;
    let (model, name) = args.load(&device).await?;
    let step = Step::measure(&model, &name, &args.settings(&model), Some(&probes), timer).await?;
    if args.profile {
        let by = if device.has_timestamps() { "timestamps" } else { "the host's clock" };
        say!("the same step, each dispatch in a pass of its own, by {by}");
        let never = || Error::Internal { what: "a profile that nobody stopped was given up".to_string() };
        let seq_len = args.settings(&model).seq_len;
        let profile = Profile::measure(&device, &step.plans(), seq_len, &|| false).await?.ok_or_else(never)?;
        say!("{}", Table { profile, probes });
    }
    Ok(())
}

/// How often the same is measured: a software driver computes as long for one measurement as a card for many.
fn measurements(device: &Device) -> usize {
    if device.software { 3 } else { 20 }
}

async fn most(device: &Rc<Device>, timer: Timer) -> Result<Probes> {
    say!("{} kernels on {}", device.shape.name(), device.name);
    let probes = Probes::measure(device, timer).await?;
    let (flops, bytes, invocations) = (probes.flops, probes.bytes, probes.invocations);
    say!("  multiply-adds in registers          {flops:8.1} GFLOP/s  by {invocations} invocations");
    say!("  memory, read and written            {bytes:8.1} GB/s");
    Ok(probes)
}
