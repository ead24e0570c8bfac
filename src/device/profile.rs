//! When each dispatch of a plan began and ended: for measurements only, because every dispatch gets a pass of its own.

use super::buffer::{Buffer, Usage};
use super::card::Card;
use super::device::{Device, Executor};
use super::platform;
use super::ready::Ready;
use crate::error::{Error, Result};

/// The dispatches of one submission: whatever their size, a card's watchdog lets so many pass.
const DISPATCHES: usize = 512;
const TIMESTAMP_BYTES: u64 = 8;

/// Milliseconds since some fixed moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    pub begin: f64,
    pub end: f64,
}

impl Span {
    pub fn ms(self) -> f64 {
        self.end - self.begin
    }
}

impl Device {
    /// Whether the device itself says when a dispatch began and ended.
    pub fn has_timestamps(&self) -> bool {
        matches!(&self.executor, Executor::Card(card) if card.tick.is_some())
    }

    /// Runs the dispatches, each in a pass of its own, and says when each ran: by the timestamps of the card, if it was
    /// opened with them, else by the host's clock, which on a card counts the wait for it too. `None` if `stop` said so
    /// while the host's clock timed them. Errors: `DeviceLost`.
    pub(crate) async fn profile_unless(&self, all: &[Ready], stop: &dyn Fn() -> bool) -> Result<Option<Vec<Span>>> {
        self.finished().await?;
        if let Executor::Card(card) = &self.executor
            && let Some(tick) = card.tick
        {
            return self.by_timestamps(card, all, tick).await.map(Some);
        }
        let mut spans = Vec::with_capacity(all.len());
        for ready in all {
            platform::let_others_run().await;
            if stop() {
                return Ok(None);
            }
            let begin = platform::exact_now();
            match &self.executor {
                Executor::Card(card) => card.encode([(ready, ready.groups)].into_iter()),
                Executor::Cpu(_) => ready.run(),
                Executor::Dry => return Err(Error::Internal { what: "a profile of what is not computed".to_string() }),
            }
            self.finished().await?;
            spans.push(Span { begin, end: platform::exact_now() });
        }
        Ok(Some(spans))
    }

    /// `tick` is in nanoseconds.
    async fn by_timestamps(&self, card: &Card, all: &[Ready], tick: f64) -> Result<Vec<Span>> {
        let mut submitted = Vec::new();
        for part in all.chunks(DISPATCHES) {
            let bytes = 2 * TIMESTAMP_BYTES * part.len() as u64;
            let buffer = self.checked(|| self.buffer("timestamps", bytes, Usage::Timestamps)).await?;
            card.encode_timed(part, &buffer);
            submitted.push((buffer, bytes));
        }
        let mut ticks: Vec<u64> = Vec::with_capacity(2 * all.len());
        for (buffer, bytes) in submitted {
            ticks.extend(bytemuck::pod_collect_to_vec::<u8, u64>(&self.read(&buffer, 0, bytes).await?));
        }
        // Whole ticks are subtracted before they become real numbers, which would not hold all their digits.
        let first = ticks.first().copied().unwrap_or(0);
        let ms = |ticks: u64| ticks.wrapping_sub(first) as i64 as f64 * tick * 1e-6;
        Ok(ticks.as_chunks().0.iter().map(|&[begin, end]| Span { begin: ms(begin), end: ms(end) }).collect())
    }
}

impl Card {
    /// Submits the dispatches in passes of their own and has `buffer` filled with when each began and ended.
    fn encode_timed(&self, part: &[Ready], buffer: &Buffer) {
        let count = 2 * part.len() as u32;
        let descriptor = wgpu::QuerySetDescriptor { label: Some("timestamps"), ty: wgpu::QueryType::Timestamp, count };
        let query_set = self.raw.create_query_set(&descriptor);
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        for (i, ready) in part.iter().enumerate() {
            let i = 2 * i as u32;
            let timestamp_writes = wgpu::ComputePassTimestampWrites {
                query_set: &query_set,
                beginning_of_pass_write_index: Some(i),
                end_of_pass_write_index: Some(i + 1),
            };
            let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes: Some(timestamp_writes) };
            ready.encode(&mut encoder.begin_compute_pass(&descriptor), ready.groups);
        }
        encoder.resolve_query_set(&query_set, 0..count, buffer.raw(), 0);
        self.queue.submit([encoder.finish()]);
    }
}
