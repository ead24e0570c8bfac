//! The profile of a run's plans: its numbers add up, and nothing of the runs before and after it changes.

use std::cell::Cell;
use std::rc::Rc;

use tabtune::adapter::Adapter;
use tabtune::device::{Device, DeviceOptions, Shape};
use tabtune::plan::{Cost, Plan, Progress};
use tabtune::run::team::Shape as Part;
use tabtune::run::{self, Answer, Base, Clock, Control, Helper, Report, Settings, Task, Wish};
use tabtune::train::{Sums, Trainer, TrainerSettings};

use crate::check::{MODEL_SHAPES, device};
use crate::tiny::{tiny_base, tiny_settings, whole_run};

/// A worker that is never asked for anything.
struct Idle;

impl Helper for Idle {
    fn prepare(&self, _: &Part) -> Answer<()> {
        panic!("a profile asked a helper to prepare")
    }

    fn compute(&self, _: Task) -> Answer<Option<Sums>> {
        panic!("a profile asked a helper to compute")
    }

    fn give_up(&self) {}
}

fn wall_clock() -> Clock {
    Rc::new(tabtune::device::exact_now)
}

async fn profiled(base: &Base, settings: &Settings, helpers: &[Box<dyn Helper>]) -> Report {
    let profile = run::profile(base, settings, &wall_clock(), helpers, &Control::default()).await;
    profile.expect("a profile").expect("a profile that nobody stopped")
}

/// The plans of a step with so many rows in a micro-batch, as a trainer of LoRA records them.
async fn plans(base: &Base, settings: &Settings, batch: usize) -> Trainer {
    let model = &base.model;
    let adapter = Adapter::new(&model.device, &model.config, settings.check(&model.config).expect("a spec"));
    let adapter = adapter.expect("an adapter");
    let trained = TrainerSettings::new(batch, settings.seq_len);
    let draft = Trainer::record(&adapter.attach(model), &adapter.params(), trained).expect("plans");
    draft.finish(&mut Progress::silent()).await.expect("a trainer")
}

fn flops(plan: &Plan, seq_len: usize) -> f64 {
    plan.costs(seq_len).iter().filter_map(|Cost { flops, .. }| *flops).sum()
}

crate::device_tests! {
    async fn the_numbers_of_a_profile_add_up() {
        for &shape in MODEL_SHAPES {
            let options = DeviceOptions { shape: Some(shape), timestamps: true, ..DeviceOptions::default() };
            let device = Device::new(options).await.expect("a device");
            let base = tiny_base(&device).await;
            let settings = tiny_settings(&base);
            let report = profiled(&base, &settings, &[]).await;
            assert_eq!((report.workers, report.timestamps), (1, device.has_timestamps()), "{shape:?}");

            let trainer = plans(&base, &settings, settings.batch).await;
            let (micro, update) = (trainer.micro_plan(), trainer.update_plan());
            let times = settings.accumulate;
            assert_eq!(times, 2);
            let expected = 2.0 * flops(micro, settings.seq_len) + flops(update, settings.seq_len);
            assert_eq!(report.flops_per_step, expected, "{shape:?}");
            assert!(report.ms_per_step > 0.0, "{shape:?}: {report:?}");
            let share = report.most_flops_per_second.map(|most| expected / report.ms_per_step * 1e3 / most);
            assert_eq!(share.is_some(), shape != Shape::Cpu, "{shape:?}: {report:?}");
            assert_eq!(report.share, share, "{shape:?}");
            // So small a model comes nowhere near the most that a device does.
            assert!(share.is_none_or(|share| share > 0.0 && share < 1.0), "{shape:?}: {report:?}");

            let calls: usize = report.kernels.iter().map(|kernel| kernel.calls).sum();
            assert_eq!(calls, times * micro.dispatches() + update.dispatches(), "{shape:?}");
            assert!(report.kernels.is_sorted_by(|a, b| a.ms >= b.ms), "{shape:?}: {:?}", report.kernels);
            let sum: f64 = report.kernels.iter().map(|kernel| kernel.share).sum();
            assert!((sum - 1.0).abs() < 1e-9, "{shape:?}: {sum}");
            let ms: f64 = report.kernels.iter().map(|kernel| kernel.ms).sum();
            for kernel in &report.kernels {
                assert!(kernel.ms >= 0.0 && (kernel.share - kernel.ms / ms).abs() < 1e-9, "{shape:?}: {kernel:?}");
            }
            let mut names: Vec<_> = report.kernels.iter().map(|kernel| kernel.kernel).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), report.kernels.len(), "{shape:?}: every kernel once");
        }
    }

    /// Neither the base nor what is left in the memory that all plans share differs for the next run.
    async fn a_profile_changes_no_run() {
        for &shape in MODEL_SHAPES {
            let base = tiny_base(&device(shape).await).await;
            let settings = tiny_settings(&base);
            let (events, outcome) = whole_run(&base, &settings, None).await;
            let bytes = base.model.device.bytes();
            profiled(&base, &settings, &[]).await;
            assert_eq!(base.model.device.bytes(), bytes, "{shape:?}: what it needed is freed");
            let (again, outcome_again) = whole_run(&base, &settings, None).await;
            assert_eq!(events, again, "{shape:?}");
            assert!(outcome.kept.expect("an adapter").files == outcome_again.kept.expect("an adapter").files);
        }
    }

    async fn a_profile_is_of_the_leaders_part_and_asks_nobody_for_help() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        let settings = Settings { batch: 5, accumulate: 1, ..tiny_settings(&base) };
        let report = profiled(&base, &settings, &[Box::new(Idle)]).await;
        let trainer = plans(&base, &settings, 2).await;
        assert_eq!((report.workers, report.flops_per_step), (2, flops(trainer.micro_plan(), settings.seq_len)));
    }

    async fn a_profile_ends_when_it_is_told_to() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        let settings = tiny_settings(&base);
        // Before it begins, at its first step, and in the middle of its steps.
        for reads in [0, 1, 6] {
            let (control, left) = (Control::default(), Cell::new(reads));
            let clock: Clock = Rc::new({
                let control = control.clone();
                move || {
                    left.set(left.get() - 1);
                    if left.get() == 0 {
                        control.set(Wish::Cancel);
                    }
                    tabtune::device::exact_now()
                }
            });
            if reads == 0 {
                control.set(Wish::Cancel);
            }
            let profile = run::profile(&base, &settings, &clock, &[], &control).await.expect("no error");
            assert_eq!(profile, None, "{reads}");
        }
    }

    async fn a_profile_refuses_what_a_run_refuses() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        for settings in [
            Settings { batch: 0, ..tiny_settings(&base) },
            Settings { seq_len: 1 << 20, ..tiny_settings(&base) },
            Settings { rank: 0, ..tiny_settings(&base) },
        ] {
            let refused = run::profile(&base, &settings, &wall_clock(), &[], &Control::default()).await;
            assert_eq!(refused.expect_err("a refusal").code(), "setting");
        }
    }
}
