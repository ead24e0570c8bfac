//! A training step: what it launches, what it costs the host, how fast it is.

use std::time::Instant;

use tabtune::device::{Device, TunedProduct, cpu_seconds};
use tabtune::error::Result;
use tabtune::model::Transformer;
use tabtune::plan::{Plan, Timer};
use tabtune::run::{Control, Exercise, Settings};

use super::probes::Probes;
use crate::terminal::print;

const STEPS: usize = 5;
/// In seconds: no further step begins after so many.
const LONG: f64 = 30.0;
const ENCODED: usize = 20;

/// A trainer whose last step was measured.
pub struct Step(Exercise);

impl Step {
    /// The plans of a step, and how often it runs each.
    pub fn plans(&self) -> [(&Plan, usize); 2] {
        self.0.plans()
    }

    /// Trains LoRA with these settings, on tokens that mean nothing, and says how that went.
    pub async fn measure(
        model: &Transformer,
        name: &str,
        settings: &Settings,
        probes: Option<&Probes>,
        timer: Timer,
    ) -> Result<Step> {
        let (device, batch, seq_len) = (&model.device, settings.batch, settings.seq_len);
        let mut step = Step(Exercise::new(model, settings, &Control::default()).await?);
        let (mut submit, mut wall, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        let begin = Instant::now();
        while wall.len() < STEPS && (wall.is_empty() || begin.elapsed().as_secs_f64() < LONG) {
            let (start, used) = (Instant::now(), cpu_seconds());
            let ticket = step.0.submit(1)?;
            submit.push(start.elapsed().as_secs_f64() * 1000.0);
            step.0.trainer.result(ticket).await?;
            wall.push(start.elapsed().as_secs_f64() * 1000.0);
            cpu.extend(used.zip(cpu_seconds()).map(|(before, after)| (after - before) * 1000.0));
        }
        let (submit, wall, cpu) = (median(submit), median(wall), median(cpu));
        say!("a step of {name}, {batch} x {seq_len} tokens, {} kernels, on {}", device.shape.name(), device.name);
        say!(
            "  {} dispatches, {} pipelines, {} buffers, {} bytes",
            step.plans().iter().map(|(plan, _)| plan.dispatches()).sum::<usize>(),
            device.pipeline_count(),
            device.buffer_count(),
            device.bytes()
        );
        for TunedProduct { features, rows, columns, depth, tile, splits } in device.tuned() {
            let form = if features.is_empty() { "plain" } else { &features };
            say!("  {rows} x {columns} x {depth} {form}: measured to be fastest in {splits} x {tile}");
        }
        say!("  step {wall:.0} ms, {:.0} tokens/s; {cpu:.0} ms of CPU", (batch * seq_len) as f64 / wall * 1000.0);
        if let Some(probes) = probes {
            let flops = step.0.flops();
            let rate = flops / if timer == Timer::CpuTime { cpu } else { wall } / 1e6;
            let share = 100.0 * rate / probes.flops;
            say!("  products of {:.2} GFLOP, {rate:.1} GFLOP/s, {share:.1} % of the probe", flops / 1e9);
        }
        if let Some(encode) = step.encode(device) {
            say!("  encode {encode:.3} ms");
        }
        if !device.software {
            // A software driver computes inside the submission.
            say!("  encode and submit {submit:.3} ms");
        }
        Ok(step)
    }

    /// Milliseconds in which the host encodes the plans, the best of many: what disturbs it makes it slower.
    fn encode(&self, device: &Device) -> Option<f64> {
        let once = || self.plans().iter().map(|(plan, _)| plan.time_to_encode(device)).sum::<Option<f64>>();
        (0..ENCODED).map(|_| once()).collect::<Option<Vec<f64>>>()?.into_iter().min_by(f64::total_cmp)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
