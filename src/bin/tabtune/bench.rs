//! `tabtune bench`: the device's multiply-adds in registers, the matmul in every form against them, and a training
//! step, in one run.

use std::rc::Rc;
use std::time::Instant;

use tabtune::adapter::{Adapter, AdapterFiles};
use tabtune::device::{Choice, Device, DeviceOptions, Pool, Shape, Stored, Tensor};
use tabtune::error::Result;
use tabtune::generate::Generator;
use tabtune::model::Storage;
use tabtune::ops::{Matrix, Slab, Weight, project};
use tabtune::plan::{Input, Plan, Progress, Recorder, Step, Var};
use tabtune::run::Settings;
use tabtune::text::{MicroBatch, Row};
use tabtune::train::{StepSettings, Trainer, TrainerSettings};

use crate::cli::DeviceArgs;
use crate::terminal::print;

/// A line of the result.
macro_rules! say {
    ($($words:tt)*) => {
        print(&format!("{}\n", format_args!($($words)*)))?
    };
}

const LOOPS: usize = 2048;
const PROBE_INVOCATIONS: usize = 4096;
/// In seconds.
const LONG_ENOUGH: f64 = 0.05;

/// CPU seconds that this process has used, all threads: on a software device that is what a kernel costs, whatever
/// else the machine does.
fn cpu_seconds() -> Option<f64> {
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    let nanoseconds = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        stat.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some(tasks.filter_map(|task| nanoseconds(task.ok()?)).sum::<f64>() / 1e9)
}

/// Seconds of a plan, the best of several measurements: of CPU time where a driver computes in software under Linux,
/// else of wall clock. What has no card is measured over as many runs as take a while, because Linux counts CPU time in
/// ticks.
async fn seconds(device: &Device, plan: &Plan, rows: usize) -> Result<f64> {
    plan.input.write_step(device, &Step { rows: rows as u32, labelled: rows as u32, strength: 1.0, ..Step::default() });
    let (by_cpu, measurements) = (device.software && device.shape != Shape::Cpu, if device.software { 3 } else { 20 });
    let (mut best, mut runs) = (f64::INFINITY, 1);
    let mut measured = 0;
    while measured < measurements {
        let (start, cpu) = (Instant::now(), cpu_seconds());
        for _ in 0..runs {
            plan.submit(device, 1);
        }
        device.finished().await?;
        let wall = start.elapsed().as_secs_f64();
        if device.software && wall < LONG_ENOUGH {
            runs *= 2;
            continue;
        }
        let used = cpu.zip(cpu_seconds()).map(|(before, after)| after - before).filter(|_| by_cpu);
        best = best.min(used.unwrap_or(wall) / f64::from(runs));
        measured += 1;
    }
    Ok(best)
}

pub async fn bench(args: &DeviceArgs) -> Result<()> {
    let shapes: &[Shape] = match args.choice()? {
        Choice::Auto => &[Shape::Cpu, Shape::Direct, Shape::Tiled],
        Choice::Gpu => &[Shape::Direct, Shape::Tiled],
        Choice::Cpu => &[Shape::Cpu],
    };
    let chosen = args.open().await?;
    for &shape in shapes {
        let device = Device::new(DeviceOptions { shape: Some(shape), ..DeviceOptions::default() }).await?;
        let pool = Pool::default();
        let mut progress = Progress::silent();
        say!("{} kernels on {}", shape.name(), device.name);

        let input = Input::new(&device, 16)?;
        let mut rec = Recorder::new(&device, &pool, &input, false);
        let y = rec.tensor(PROBE_INVOCATIONS, 4);
        rec.dispatch("fma_probe", &[], vec![("LOOPS", LOOPS.into())], &[("invocations", PROBE_INVOCATIONS)], &[&y]);
        let plan = rec.finish(&mut progress).await?;
        let probe = 2.0 * (PROBE_INVOCATIONS * 64 * LOOPS) as f64 / seconds(&device, &plan, 1).await? / 1e9;
        say!("  multiply-adds in registers          {probe:8.1} GFLOP/s");

        for (m, n, k) in [(256, 256, 256), (256, 688, 256), (512, 576, 576)] {
            for (form, back) in [("x Wᵀ", false), ("dy W", true)] {
                let rate = 2.0 * (m * n * k) as f64 / matmul_seconds(&device, &pool, (m, n, k), back).await? / 1e9;
                say!(
                    "  matmul {m:4} x {n:4} x {k:4}  {form:5}     {rate:8.1} GFLOP/s  {:5.1} % of the probe",
                    100.0 * rate / probe
                );
            }
        }
    }
    step(&chosen).await?;
    swap(&chosen).await
}

/// Another adapter of the embedded base: in the place of the one that is attached, and with new plans for it. Parsing
/// the files is part of both.
async fn swap(device: &Rc<Device>) -> Result<()> {
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

/// A training step of the embedded base with its default settings: what it launches, what it costs the host, how fast
/// it is.
async fn step(device: &Rc<Device>) -> Result<()> {
    let base = crate::base::load(device, None, Storage::default()).await?;
    let config = &base.model.config;
    let settings = Settings::defaults(config, device.software);
    let adapter = Adapter::new(device, config, settings.check(config)?)?;
    adapter.write(device, &adapter.initial(0));
    let (batch, seq_len) = (settings.batch, settings.seq_len);
    let draft = Trainer::record(&adapter.attach(&base.model), &adapter.params(), TrainerSettings::new(batch, seq_len))?;
    let mut trainer = draft.finish(&mut Progress::silent()).await?;
    let ids = (0..=seq_len).map(|i| (i * 37 % config.vocabulary) as u32).collect();
    let row = Row { ids, labels: vec![true; seq_len], tokens: seq_len };
    let micro = [MicroBatch::assemble(&vec![&row; batch], batch, seq_len)];
    let options = StepSettings { learning_rate: settings.lr, weight_decay: 0.0, clip: 1.0, dropout: 0.0, seed: 0 };
    let (mut encode, mut wall, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..5 {
        let (start, used) = (Instant::now(), cpu_seconds());
        let ticket = trainer.submit(&micro, options, 1)?;
        encode.push(start.elapsed().as_secs_f64() * 1000.0);
        trainer.result(ticket).await?;
        wall.push(start.elapsed().as_secs_f64() * 1000.0);
        cpu.extend(used.zip(cpu_seconds()).map(|(before, after)| (after - before) * 1000.0));
    }
    let median = |values: &mut Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (encode, wall, cpu) = (median(&mut encode), median(&mut wall), median(&mut cpu));
    let dispatches = trainer.micro_plan().dispatches() + trainer.update_plan().dispatches();
    say!(
        "a step of the embedded model, {batch} x {seq_len} tokens, {} kernels, on {}",
        device.shape.name(),
        device.name
    );
    say!(
        "  {dispatches} dispatches, {} pipelines, {} buffers, {} bytes",
        device.pipeline_count(),
        device.buffer_count(),
        device.bytes()
    );
    say!("  step {wall:.0} ms, {:.0} tokens/s; {cpu:.0} ms of CPU", (batch * seq_len) as f64 / wall * 1000.0);
    if !device.software {
        // A software driver computes inside the submission.
        say!("  encode and submit {encode:.2} ms");
    }
    Ok(())
}

async fn matmul_seconds(device: &Rc<Device>, pool: &Pool, (m, n, k): (usize, usize, usize), back: bool) -> Result<f64> {
    let mut progress = Progress::silent();
    let input = Input::new(device, m)?;
    let numbers = |count: usize| (0..count).map(|i| ((i * 7919) % 1000) as f32 * 1e-3 - 0.5).collect::<Vec<f32>>();
    let tensor = |label, rows, cols| {
        let tensor = Tensor::owned(device, label, rows, cols)?;
        tensor.upload(device, &numbers(rows * cols));
        Ok(tensor)
    };
    let w =
        Weight { rows: n, cols: k, slabs: Rc::new(vec![Slab { first: 0, stored: Stored::f32(tensor("w", n, k)?) }]) };
    let x = Var::new(tensor("x", m, k)?, back);
    let mut rec = Recorder::new(device, pool, &input, back);
    let y = project(&mut rec, None, &x, Matrix::Frozen(&w), None);
    if let Some(grad) = &y.grad {
        *grad.borrow_mut() = Some(tensor("dy", m, n)?);
    }
    let plan = rec.finish(&mut progress).await?;
    let both = seconds(device, &plan, m).await?;
    if !back {
        return Ok(both);
    }
    // The plan holds forward and backward: the forward alone is taken off.
    let mut rec = Recorder::new(device, pool, &input, false);
    project(&mut rec, None, &Var::frozen(x.data), Matrix::Frozen(&w), None);
    let forward = rec.finish(&mut progress).await?;
    Ok((both - seconds(device, &forward, m).await?).max(1e-9))
}
