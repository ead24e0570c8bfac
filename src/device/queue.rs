//! The queue of the CPU: writes, copies and dispatches in order, as a card has them. Submitting runs nothing; whoever
//! waits for a result runs what was queued before it, and lets the event loop in between pieces.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::buffer::Words;
use super::platform;
use super::ready::Ready;
use crate::error::{Error, Result};

/// How long the queue computes before it lets the event loop in. A dispatch is never cut.
const PIECE_MS: f64 = 50.0;

enum Command {
    Write { to: Words, at: usize, words: Vec<u32> },
    Copy { from: Words, from_at: usize, to: Words, to_at: usize, count: usize },
    Run { all: Rc<[Ready]>, range: Range<usize> },
}

#[derive(Default)]
pub(super) struct Queue {
    commands: RefCell<VecDeque<Command>>,
    /// How many commands have been queued, and how many of them are done.
    queued: Cell<u64>,
    done: Cell<u64>,
    destroyed: Cell<bool>,
    /// When the event loop was let in: many short waits need it as much as a long one.
    let_in: Cell<f64>,
}

impl Queue {
    pub fn write(&self, to: &Words, offset: u64, bytes: &[u8]) {
        let at = (offset / 4) as usize;
        if self.commands.borrow().is_empty() {
            // Nothing is waiting that could still need the old numbers.
            let target = &mut to.borrow_mut()[at..at + bytes.len() / 4];
            bytemuck::cast_slice_mut::<u32, u8>(target).copy_from_slice(bytes);
        } else {
            self.push(Command::Write { to: to.clone(), at, words: bytemuck::pod_collect_to_vec(bytes) });
        }
    }

    pub fn copy(&self, from: &Words, from_offset: u64, to: &Words, to_offset: u64, bytes: u64) {
        let [from_at, to_at, count] = [from_offset, to_offset, bytes].map(|bytes| (bytes / 4) as usize);
        self.push(Command::Copy { from: from.clone(), from_at, to: to.clone(), to_at, count });
    }

    pub fn run(&self, all: &Rc<[Ready]>, range: Range<usize>) {
        self.push(Command::Run { all: all.clone(), range });
    }

    fn push(&self, command: Command) {
        self.commands.borrow_mut().push_back(command);
        self.queued.set(self.queued.get() + 1);
    }

    /// How many commands have been queued so far: what [`drain`](Self::drain) waits for.
    pub fn queued(&self) -> u64 {
        self.queued.get()
    }

    /// Runs commands until the first `count` that were ever queued are done. Returns false if `stop` came before the
    /// last dispatch among them: then nothing that was queued is run any more. Errors: `DeviceLost`.
    pub async fn drain_unless(&self, count: u64, stop: &dyn Fn() -> bool) -> Result<bool> {
        while self.done.get() < count {
            self.alive()?;
            if stop() && self.computes_before(count) {
                self.commands.borrow_mut().clear();
                self.done.set(self.queued.get());
                return Ok(false);
            }
            self.run_one();
            if platform::now() - self.let_in.get() > PIECE_MS {
                platform::let_others_run().await;
                self.let_in.set(platform::now());
            }
        }
        self.alive()?;
        Ok(true)
    }

    pub async fn drain(&self, count: u64) -> Result<()> {
        self.drain_unless(count, &|| false).await.map(|_| ())
    }

    /// Whether a dispatch is left among the first `count` commands. If there is none, only the result must be copied.
    fn computes_before(&self, count: u64) -> bool {
        let left = (count - self.done.get()) as usize;
        self.commands.borrow().iter().take(left).any(|command| matches!(command, Command::Run { .. }))
    }

    /// Runs the next command, or the next dispatch of it.
    fn run_one(&self) {
        let Some(command) = self.commands.borrow_mut().pop_front() else {
            panic!("{} commands were queued, {} are done, and none is left", self.queued.get(), self.done.get());
        };
        match command {
            Command::Write { to, at, words } => to.borrow_mut()[at..at + words.len()].copy_from_slice(&words),
            Command::Copy { from, from_at, to, to_at, count } => {
                to.borrow_mut()[to_at..to_at + count].copy_from_slice(&from.borrow()[from_at..from_at + count]);
            }
            Command::Run { all, mut range } => {
                if let Some(next) = range.next() {
                    all[next].run();
                }
                if !range.is_empty() {
                    self.commands.borrow_mut().push_front(Command::Run { all, range });
                    return;
                }
            }
        }
        self.done.set(self.done.get() + 1);
    }

    pub fn destroy(&self) {
        self.destroyed.set(true);
    }

    pub fn alive(&self) -> Result<()> {
        match self.destroyed.get() {
            true => Err(Error::DeviceLost { reason: "it was destroyed".to_string() }),
            false => Ok(()),
        }
    }
}
