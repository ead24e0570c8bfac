//! What a run is asked to do while it is running, and the clock it reads. A signal handler may ask from another thread,
//! so the wish is shared, not borrowed.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

/// Milliseconds since some fixed moment.
pub type Clock = Rc<dyn Fn() -> f64>;

/// Checked before every step, evaluation batch and sampled token. Clones share one wish.
#[derive(Clone, Default)]
pub struct Control(Arc<Shared>);

#[derive(Default)]
struct Shared {
    wish: AtomicU8,
    save: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wish {
    #[default]
    GoOn,
    /// Submit nothing until the wish changes.
    Pause,
    /// End here and keep the adapter.
    Stop,
    /// End here and keep nothing.
    Cancel,
}

impl Control {
    pub fn set(&self, wish: Wish) {
        self.0.wish.store(wish as u8, Ordering::Release);
        if let Ok(mut waiting) = self.0.waiting.lock()
            && let Some(waker) = waiting.take()
        {
            waker.wake();
        }
    }

    pub fn wish(&self) -> Wish {
        match self.0.wish.load(Ordering::Acquire) {
            0 => Wish::GoOn,
            1 => Wish::Pause,
            2 => Wish::Stop,
            _ => Wish::Cancel,
        }
    }

    /// Asks for a run state after the step under way.
    pub fn ask_to_save(&self) {
        self.0.save.store(true, Ordering::Release);
    }

    /// Whether a run state was asked for since this was last called.
    pub fn was_asked_to_save(&self) -> bool {
        self.0.save.swap(false, Ordering::AcqRel)
    }

    /// Whether the run should end. A pause does not end it.
    pub fn ends(&self) -> bool {
        matches!(self.wish(), Wish::Stop | Wish::Cancel)
    }

    /// Waits while paused. Returns true if the run then continues.
    pub async fn proceed(&self) -> bool {
        let changed = poll_fn(|context| {
            self.listen(context);
            if self.wish() == Wish::Pause { Poll::Pending } else { Poll::Ready(()) }
        });
        changed.await;
        !self.ends()
    }

    /// Waits for `work`. Returns `None` if the run is to end first.
    pub async fn unless_ended<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let first = poll_fn(|context| {
            self.listen(context);
            if self.ends() { Poll::Ready(None) } else { work.as_mut().poll(context).map(Some) }
        });
        first.await
    }

    /// Has the next wish wake a task.
    fn listen(&self, context: &Context<'_>) {
        if let Ok(mut waiting) = self.0.waiting.lock() {
            *waiting = Some(context.waker().clone());
        }
    }
}
