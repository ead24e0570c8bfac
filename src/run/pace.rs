//! Which steps are in flight, and how fast the run is.

use std::collections::VecDeque;

use super::control::{Clock, Control};
use super::cost::Cost;
use super::event::Event;
use super::settings::Settings;
use crate::device::{Device, Shape, Ticket};
use crate::error::Result;
use crate::train::Trainer;

/// A submission takes at most about so long, so that none blocks the device for longer.
const LONG_MS: f64 = 100.0;

/// A submitted step whose result has not been read.
pub(super) struct Pending {
    pub step: u32,
    pub ticket: Ticket,
    pub tokens: u32,
    pub lr: f64,
}

pub(super) struct Pace<'a> {
    clock: Clock,
    pub settings: &'a Settings,
    /// The number of held-out rows.
    held_out: usize,
    /// How many steps may be in flight while the next one is prepared.
    pub ahead: usize,
    pending: VecDeque<Pending>,
    pub cost: Cost,
    last_result_at: f64,
    /// The first step whose loss or gradient was not finite. That step and all later ones have changed nothing.
    pub broken: Option<u32>,
    /// How many submitted steps the CPU gave up, because the run is to end.
    pub given_up: u32,
}

impl<'a> Pace<'a> {
    pub fn new(clock: Clock, settings: &'a Settings, held_out: usize, device: &Device) -> Pace<'a> {
        let (pending, cost) = (VecDeque::new(), Cost::default());
        // A device computes one step while the next one is prepared. What Rust computes begins only when it is waited
        // for.
        let ahead = if device.shape == Shape::Cpu { 0 } else { 1 };
        Pace { clock, settings, held_out, ahead, pending, cost, last_result_at: 0.0, broken: None, given_up: 0 }
    }

    /// How many submissions a micro-batch is cut into.
    pub fn pieces(&self) -> usize {
        (self.cost.step.0 / LONG_MS).ceil().max(1.0) as usize
    }

    pub fn push(&mut self, pending: Pending) {
        self.pending.push_back(pending);
    }

    /// Starts timing again, so that the time until now does not count as part of a step.
    pub fn restart(&mut self) {
        self.last_result_at = (self.clock)();
    }

    /// Reads the next finite result if more than `ahead` steps are unread. If the run is to end and the CPU has not
    /// finished a step, that step and all later ones are given up.
    pub async fn next(&mut self, trainer: &Trainer, ahead: usize, control: &Control) -> Result<Option<Event>> {
        while self.pending.len() > ahead {
            let Some(Pending { step, ticket, tokens, lr }) = self.pending.pop_front() else { break };
            let Some(result) = trainer.result_unless(ticket, &|| control.ends()).await? else {
                self.given_up = 1 + self.pending.drain(..).len() as u32;
                break;
            };
            let now = (self.clock)();
            let elapsed = (now - self.last_result_at).max(0.01);
            self.last_result_at = now;
            self.cost.step.add(elapsed);
            if !result.finite {
                self.broken.get_or_insert(step);
                continue;
            }
            return Ok(Some(Event::Step {
                step,
                loss: result.loss,
                grad_norm: result.grad_norm,
                lr,
                tokens,
                tokens_per_second: f64::from(tokens) / self.cost.step.0 * 1000.0,
                eta_ms: self.cost.left(self.settings, self.held_out, step),
            }));
        }
        Ok(None)
    }
}
