//! Brings results to the host: the only place that waits. Natively the device is polled; in a browser the event loop
//! does that.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::buffer::{Buffer, Usage};
use super::device::{Device, Executor};
use crate::error::{Error, Result};

type Answer = std::result::Result<(), wgpu::BufferAsyncError>;

#[derive(Clone, Default)]
struct Signal(Arc<Mutex<(Option<Answer>, Option<Waker>)>>);

impl Signal {
    fn send(&self, answer: Answer) {
        if let Ok(mut state) = self.0.lock() {
            state.0 = Some(answer);
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        }
    }
}

impl Future for Signal {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, context: &mut Context) -> Poll<Answer> {
        let Ok(mut state) = self.0.lock() else { return Poll::Ready(Err(wgpu::BufferAsyncError)) };
        match state.0.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                state.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A read in flight.
pub struct Ticket {
    staging: Rc<Buffer>,
    bytes: u64,
    arrival: Arrival,
    busy: Option<Rc<Cell<bool>>>,
}

/// When a read has its bytes.
enum Arrival {
    Mapped {
        signal: Signal,
        submission: wgpu::SubmissionIndex,
    },
    /// After so many commands of the CPU's queue.
    Queued(u64),
    Never,
}

impl Ticket {
    fn free(&self) {
        if let Some(busy) = &self.busy {
            busy.set(false);
        }
    }
}

impl Drop for Ticket {
    /// The staging buffer of a card stays mapped until the read is finished; the CPU's can be used again at once.
    fn drop(&mut self) {
        if matches!(self.arrival, Arrival::Queued(_)) {
            self.free();
        }
    }
}

impl Device {
    /// Copies a range into `staging`, which must be unmapped, and starts to map it. Does not wait.
    pub fn start_read(&self, buffer: &Buffer, offset: u64, staging: &Rc<Buffer>, bytes: u64) -> Ticket {
        let arrival = match &self.executor {
            Executor::Card(card) => {
                let submission = card.copy(buffer, offset, staging, 0, bytes);
                let signal = Signal::default();
                let sender = signal.clone();
                staging.raw().map_async(wgpu::MapMode::Read, 0..bytes, move |answer| sender.send(answer));
                Arrival::Mapped { signal, submission }
            }
            Executor::Cpu(queue) => {
                queue.copy(buffer.words(), offset, staging.words(), 0, bytes);
                Arrival::Queued(queue.queued())
            }
            Executor::Dry => Arrival::Never,
        };
        Ticket { staging: staging.clone(), bytes, arrival, busy: None }
    }

    /// Waits for a read and returns its bytes. Errors: `DeviceLost`.
    pub async fn finish_read(&self, ticket: Ticket) -> Result<Vec<u8>> {
        let never = || Error::Internal { what: "a wait that nobody ended was given up".to_string() };
        self.finish_read_unless(ticket, &|| false).await?.ok_or_else(never)
    }

    /// Like [`finish_read`](Self::finish_read), but on the CPU the wait ends early when `stop` says so: then all that
    /// is queued is discarded, and there are no bytes. What a card has been given is always finished.
    pub async fn finish_read_unless(&self, mut ticket: Ticket, stop: &dyn Fn() -> bool) -> Result<Option<Vec<u8>>> {
        let lost = || Error::DeviceLost { reason: "a read was dropped".to_string() };
        let bytes = match (&self.executor, &mut ticket.arrival) {
            (Executor::Card(card), Arrival::Mapped { signal, submission }) => {
                #[cfg(not(target_arch = "wasm32"))]
                card.raw
                    .poll(wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout: None })
                    .map_err(|_| lost())?;
                #[cfg(target_arch = "wasm32")]
                let _ = submission;
                let answer = (&mut *signal).await;
                card.alive()?;
                if answer.is_err() {
                    return Err(lost());
                }
                let bytes = match ticket.staging.raw().get_mapped_range(0..ticket.bytes) {
                    Ok(view) => view.to_vec(),
                    Err(_) => return Err(lost()),
                };
                ticket.staging.raw().unmap();
                bytes
            }
            (Executor::Cpu(queue), Arrival::Queued(count)) => {
                if !queue.drain_unless(*count, stop).await? {
                    return Ok(None);
                }
                let words = ticket.staging.words().borrow();
                bytemuck::cast_slice(&words[..(ticket.bytes / 4) as usize]).to_vec()
            }
            _ => return Err(Error::Internal { what: "a result of a device that computes nothing".to_string() }),
        };
        ticket.free();
        Ok(Some(bytes))
    }

    /// Waits until everything submitted so far has run.
    pub async fn finished(&self) -> Result<()> {
        match &self.executor {
            Executor::Card(card) => {
                let signal = Signal::default();
                let sender = signal.clone();
                card.queue.on_submitted_work_done(move || sender.send(Ok(())));
                #[cfg(not(target_arch = "wasm32"))]
                card.raw
                    .poll(wgpu::PollType::wait_indefinitely())
                    .map_err(|_| Error::DeviceLost { reason: "waiting failed".to_string() })?;
                let _ = signal.await;
                card.alive()
            }
            Executor::Cpu(queue) => queue.drain(queue.queued()).await,
            Executor::Dry => Ok(()),
        }
    }

    /// Submits queued writes and waits for them, so that the host's copies are freed.
    pub async fn flush(&self) -> Result<()> {
        if let Executor::Card(card) = &self.executor {
            card.queue.submit([]);
        }
        self.finished().await
    }

    /// Reads a range of a buffer through a staging buffer of its own: for loading and saving, not for training steps.
    pub async fn read(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        let staging = self.checked(|| self.buffer("read", bytes, Usage::Staging)).await?;
        let ticket = self.start_read(buffer, offset, &staging, bytes);
        self.finish_read(ticket).await
    }
}

/// Four small staging buffers used in turn, so that results come back while later steps are already running.
pub struct Ring {
    slots: Vec<(Rc<Buffer>, Rc<Cell<bool>>)>,
    next: usize,
}

impl Ring {
    pub fn new(device: &Device, bytes: u64) -> Result<Ring> {
        let slot = |_| Ok((device.buffer("ring", bytes, Usage::Staging)?, Rc::new(Cell::new(false))));
        Ok(Ring { slots: (0..4).map(slot).collect::<Result<_>>()?, next: 0 })
    }

    /// Starts to read the first `bytes` of `buffer`. Returns `None` while the next slot is still unread: the caller has
    /// too many reads in flight.
    pub fn start(&mut self, device: &Device, buffer: &Buffer, bytes: u64) -> Option<Ticket> {
        let (staging, busy) = &self.slots[self.next];
        if busy.replace(true) {
            return None;
        }
        self.next = (self.next + 1) % self.slots.len();
        let mut ticket = device.start_read(buffer, 0, staging, bytes);
        ticket.busy = Some(busy.clone());
        Some(ticket)
    }
}
