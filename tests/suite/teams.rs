//! Runs whose micro-batches are shared among engines.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::rc::Rc;

use tabtune::device::Shape;
use tabtune::error::Error;
use tabtune::run::team::Shape as Part;
use tabtune::run::{
    self, Answer, Assistant, Base, Clock, Control, DoneReason, Event, Helper, Hooks, Method, Outcome, Settings, Start,
    Task, Wish,
};
use tabtune::train::Sums;

use crate::check::{MODEL_SHAPES, close, device};
use crate::tiny::{tiny_base, tiny_data, tiny_settings};

/// An engine of its own in this process.
struct Local(Rc<RefCell<Assistant>>);

async fn local(shape: Shape) -> Box<dyn Helper> {
    let base = tiny_base(&device(shape).await).await;
    Box::new(Local(Rc::new(RefCell::new(Assistant::new(base.model)))))
}

// These engines work only while their answers are awaited, one after the other.
#[expect(clippy::await_holding_refcell_ref)]
impl Helper for Local {
    fn prepare(&self, part: &Part) -> Answer<()> {
        let (assistant, part) = (self.0.clone(), part.clone());
        Box::pin(async move { assistant.borrow_mut().prepare(part).await })
    }

    fn compute(&self, task: Task) -> Answer<Option<Sums>> {
        let assistant = self.0.clone();
        Box::pin(async move { assistant.borrow_mut().compute(task, &|| false).await })
    }

    fn give_up(&self) {}
}

/// Answers the first `good` tasks of an engine; at the next one, it does what `then` says.
struct Failing {
    engine: Box<dyn Helper>,
    good: Cell<u32>,
    then: Box<dyn Fn() -> Answer<Option<Sums>>>,
    given_up: Rc<Cell<bool>>,
}

impl Helper for Failing {
    fn prepare(&self, part: &Part) -> Answer<()> {
        self.engine.prepare(part)
    }

    fn compute(&self, task: Task) -> Answer<Option<Sums>> {
        match self.good.get() {
            0 => (self.then)(),
            good => {
                self.good.set(good - 1);
                self.engine.compute(task)
            }
        }
    }

    fn give_up(&self) {
        self.given_up.set(true);
    }
}

pub async fn helpers(shape: Shape, count: usize) -> Vec<Box<dyn Helper>> {
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(local(shape).await);
    }
    all
}

async fn shared_run(
    base: &Base,
    settings: &Settings,
    control: &Control,
    helpers: &[Box<dyn Helper>],
) -> (Vec<Event>, Result<Outcome, Error>) {
    let mut events = Vec::new();
    let hooks = Hooks { emit: &mut |event| events.push(event), keep: &mut |_| {}, save: None, helpers };
    let (data, clock): (_, Clock) = (tiny_data(base, settings), Rc::new(|| 0.0));
    let outcome = run::train(base, &data, settings, Start::Fresh, control, &clock, hooks).await;
    events.retain(|event| !matches!(event, Event::Phase { .. }));
    (events, outcome)
}

/// Losses, then gradient norms.
fn numbers(events: &[Event]) -> Vec<f32> {
    let numbers = |event: &Event| match *event {
        Event::Step { loss, grad_norm, .. } => vec![loss as f32, grad_norm as f32],
        Event::Eval { loss: Some(loss), .. } => vec![loss as f32],
        _ => vec![],
    };
    events.iter().flat_map(numbers).collect()
}

fn workers(events: &[Event]) -> usize {
    match events.first() {
        Some(Event::Config { workers, .. }) => *workers,
        other => panic!("{other:?}"),
    }
}

fn settings_of(base: &Base) -> Settings {
    // Five sequences, which nobody can share evenly; the last batch of an epoch has fewer.
    Settings { batch: 5, dropout: 0.2, seq_len: 16, ..tiny_settings(base) }
}

crate::device_tests! {
    /// Dropout included: a mask depends on the sequence, not on who computes it.
    async fn engines_that_share_their_micro_batches_learn_the_same_as_one() {
        for (&shape, method) in MODEL_SHAPES.iter().flat_map(|shape| [(shape, Method::Lora), (shape, Method::Full)]) {
            let base = tiny_base(&device(shape).await).await;
            let dropout = if method == Method::Lora { 0.2 } else { 0.0 };
            let settings = Settings { dropout, ..settings_of(&base).with_method(method) };
            let (alone, _) = shared_run(&base, &settings, &Control::default(), &[]).await;
            assert_eq!(workers(&alone), 1);
            for count in [1, 2] {
                let helpers = helpers(shape, count).await;
                let (events, outcome) = shared_run(&base, &settings, &Control::default(), &helpers).await;
                assert_eq!(workers(&events), count + 1);
                close(
                    &format!("{shape:?} {method:?}, {} engines", count + 1),
                    &numbers(&events),
                    &numbers(&alone),
                    2e-5,
                );
                let (again, other) = shared_run(&base, &settings, &Control::default(), &helpers).await;
                assert_eq!(events, again, "the same number of engines gives the same bits");
                let files = |outcome: Result<Outcome, Error>| outcome.expect("a run").kept.expect("an adapter").files;
                assert!(files(outcome) == files(other), "the adapters differ");
            }
        }
    }

    async fn a_helper_without_a_sequence_has_nothing_to_do() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        let settings = Settings { batch: 1, ..tiny_settings(&base) };
        let (alone, _) = shared_run(&base, &settings, &Control::default(), &[]).await;
        let (events, _) = shared_run(&base, &settings, &Control::default(), &helpers(Shape::Cpu, 1).await).await;
        assert_eq!(events, alone);
    }

    async fn a_stop_waits_for_no_helper() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        let settings = Settings { eval_every: 4, ..settings_of(&base) };
        let (whole, _) = shared_run(&base, &settings, &Control::default(), &helpers(Shape::Cpu, 1).await).await;
        let (control, given_up) = (Control::default(), Rc::new(Cell::new(false)));
        let asked = control.clone();
        let helper = Failing {
            engine: local(Shape::Cpu).await,
            // The loss of the base takes one task for each batch of held-out rows.
            good: Cell::new(tiny_data(&base, &settings).held_out.len().div_ceil(settings.batch) as u32 + 2),
            then: Box::new(move || {
                asked.set(Wish::Stop);
                Box::pin(pending())
            }),
            given_up: given_up.clone(),
        };
        let (events, outcome) = shared_run(&base, &settings, &control, &[Box::new(helper)]).await;
        let outcome = outcome.expect("a run");
        assert_eq!((outcome.reason, outcome.kept.expect("an adapter").step), (DoneReason::Stopped, 2));
        assert!(given_up.get(), "the helper was told");
        let steps = |events: &[Event]| -> Vec<Event> {
            events.iter().filter(|event| matches!(event, Event::Step { step: 1..=2, .. })).cloned().collect()
        };
        let timeless = |events: &[Event]| numbers(&steps(events));
        assert_eq!(steps(&events).len(), 2);
        assert_eq!(timeless(&events), timeless(&whole));
        assert!(!events.iter().any(|event| matches!(event, Event::Step { step: 3, .. })));
    }

    async fn a_dead_helper_is_a_lost_device() {
        let base = tiny_base(&device(Shape::Cpu).await).await;
        let helper = Failing {
            engine: local(Shape::Cpu).await,
            good: Cell::new(1),
            then: Box::new(|| {
                Box::pin(async { Err(Error::DeviceLost { reason: "a worker that helps stopped".to_string() }) })
            }),
            given_up: Rc::default(),
        };
        let (_, outcome) = shared_run(&base, &settings_of(&base), &Control::default(), &[Box::new(helper)]).await;
        assert_eq!(outcome.expect_err("no run").code(), "device_lost");
    }
}
