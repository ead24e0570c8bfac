//! What is special about the CPU: a queue that runs when it is waited for, and steps that are given up half-way.

use std::cell::Cell;
use std::rc::Rc;

use tabtune::device::{Choice, Device, DeviceOptions, Pool, Shape, Tensor, Usage};
use tabtune::error::Error;
use tabtune::plan::{Input, Progress, Recorder, Step};
use tabtune::train::StepResult;

use crate::check::device;
use crate::laws::{STEP, case, same_bits, tuned};

/// y += b for y [2, 4] in a plan of its own, with y as it was before.
async fn plan_of_a_sum(device: &Rc<Device>) -> (tabtune::plan::Plan, Tensor) {
    let input = Input::new(device, 2).expect("an input");
    let tensor = |label, rows| Tensor::owned(device, label, rows, 4).expect("a tensor");
    let (b, y) = (tensor("b", 1), tensor("y", 2));
    b.upload(device, &[1.0, 2.0, 3.0, 4.0]);
    let mut rec = Recorder::new(device, &Pool::default(), &input, false);
    rec.dispatch("bias", &[], vec![("C", 4.into())], &[("quads", 2)], &[&b, &y]);
    let plan = rec.finish(&mut Progress::silent()).await.expect("a plan");
    plan.input.write_step(device, &Step { rows: 2, ..Step::default() });
    (plan, y)
}

crate::device_tests! {
    async fn the_queue_keeps_the_order_of_writes_dispatches_and_reads() {
        let device = device(Shape::Cpu).await;
        let (plan, y) = plan_of_a_sum(&device).await;
        let staging = || device.buffer("staging", 32, Usage::Staging).expect("a buffer");
        let read = || device.start_read(&y.buffer(), 0, &staging(), 32);
        let mut tickets = Vec::new();
        for round in 0..3 {
            // Bytes are copied when they are queued.
            let mut numbers = vec![10.0 * round as f32; 8];
            y.upload(&device, &numbers);
            numbers.fill(f32::NAN);
            plan.submit(&device, 1);
            tickets.push(read());
        }
        // The last result is waited for first: the earlier ones come with it.
        while let Some(ticket) = tickets.pop() {
            let found: Vec<f32> = bytemuck::pod_collect_to_vec(&device.finish_read(ticket).await.expect("a result"));
            let first = 10.0 * tickets.len() as f32;
            assert_eq!(found, [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0].map(|b| first + b));
        }
    }

    async fn a_buffer_that_is_read_and_written_at_once_is_refused() {
        let device = device(Shape::Cpu).await;
        let input = Input::new(&device, 2).expect("an input");
        let y = Tensor::owned(&device, "y", 2, 4).expect("a tensor");
        let mut rec = Recorder::new(&device, &Pool::default(), &input, false);
        rec.dispatch("bias", &[], vec![("C", 4.into())], &[("quads", 2)], &[&y, &y]);
        let refused = rec.finish(&mut Progress::silent()).await.err().expect("an error");
        assert!(matches!(&refused, Error::GpuRefused { reason } if reason.contains("bias")), "{refused}");
    }

    /// Wherever in a step it is given up, nothing of it is left, and the next steps are what they would have been.
    async fn a_step_given_up_half_way_leaves_no_trace() {
        let name = "llama-all-linear";
        let facts = case(name).facts();
        let micro = [facts.micro()];
        let t = tuned(name, device(Shape::Cpu).await).await;
        let steps = async |given_up: &[usize]| -> (Vec<StepResult>, Vec<f32>) {
            t.adapter.write(&t.device, &t.adapter.initial(3));
            let mut trainer = t.trainer(2, facts.seq_len).await;
            let mut results = Vec::new();
            for step in 0..3 {
                if let Some(after) = given_up.get(step) {
                    let ticket = trainer.submit(&micro, STEP, 3).expect("a step");
                    let asked = Cell::new(0);
                    let stop = || asked.replace(asked.get() + 1) >= *after;
                    assert_eq!(trainer.result_unless(ticket, &stop).await.expect("no error"), None);
                    assert_eq!(asked.get(), after + 1, "it stops at once");
                    trainer.abandon(1);
                }
                let ticket = trainer.submit(&micro, STEP, 3).expect("a step");
                results.push(trainer.result(ticket).await.expect("a result"));
            }
            (results, t.adapter.read(&t.device).await.expect("parameters"))
        };
        let expected = steps(&[]).await;
        for given_up in [[0, 1, 2], [40, 70, 90]] {
            let found = steps(&given_up).await;
            assert_eq!(found.0, expected.0, "{given_up:?}");
            same_bits(&format!("{given_up:?}"), &found.1, &expected.1);
        }
    }

    /// Once the update has run, the step counts, whatever was asked for meanwhile.
    async fn a_step_whose_update_has_run_is_finished() {
        let name = "llama-all-linear";
        let facts = case(name).facts();
        let t = tuned(name, device(Shape::Cpu).await).await;
        let mut trainer = t.trainer(2, facts.seq_len).await;
        // Before each dispatch, and before the copy of the result, the queue asks once; the writes come before them.
        let dispatches = trainer.micro_plan().dispatches() + trainer.update_plan().dispatches();
        let ticket = trainer.submit(&[facts.micro()], STEP, 1).expect("a step");
        let asked = Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) >= dispatches;
        assert!(trainer.result_unless(ticket, &stop).await.expect("no error").is_some());
    }

    async fn a_dry_device_counts_and_computes_nothing() {
        let device = Device::dry(Shape::Cpu);
        let (plan, y) = plan_of_a_sum(&device).await;
        assert_eq!(plan.dispatches(), 1);
        assert!(device.bytes() > 0 && device.buffer_count() >= 3);
        plan.submit(&device, 1);
        assert!(matches!(y.download(&device).await, Err(Error::Internal { .. })));
    }

    async fn the_cpu_is_a_device_that_can_be_asked_for() {
        let device = Device::new(DeviceOptions { choice: Choice::Cpu, ..DeviceOptions::default() }).await;
        let device = device.expect("a CPU");
        assert_eq!(device.shape, Shape::Cpu);
        assert!(device.software && device.name.starts_with("CPU"), "{}", device.name);
        device.destroy();
        assert!(matches!(device.finished().await, Err(Error::DeviceLost { .. })));
    }
}
