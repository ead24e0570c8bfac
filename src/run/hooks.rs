//! Where the events, the best adapters and the run states of a run go, and who helps.

use super::event::Event;
use super::keeper::Kept;
use super::saver::SaveHook;
use super::team::Helper;

pub struct Hooks<'a> {
    pub emit: &'a mut dyn FnMut(Event),
    /// Called whenever a new best adapter is found, so that a copy survives if this process dies.
    pub keep: &'a mut dyn FnMut(&Kept),
    /// Receives run states: as its `when` says, at a pause, at a stop and when somebody asks for one.
    pub save: Option<SaveHook<'a>>,
    /// Engines that compute parts of each micro-batch.
    pub helpers: &'a [Box<dyn Helper>],
}

/// The events of a run. If run states are saved, it remembers those that a resumed run reports again.
pub(super) struct Log<'a> {
    emit: &'a mut dyn FnMut(Event),
    so_far: Option<Vec<Event>>,
}

impl<'a> Log<'a> {
    pub fn new(emit: &'a mut dyn FnMut(Event), remembers: bool) -> Log<'a> {
        Log { emit, so_far: remembers.then(Vec::new) }
    }

    pub fn report(&mut self, event: Event) {
        if let Some(events) = self.so_far.as_mut().filter(|_| event.lasts()) {
            events.push(event.clone());
        }
        (self.emit)(event);
    }

    pub fn warn(&mut self, code: &str, message: String) {
        self.report(Event::Warning { code: code.to_string(), message });
    }

    /// The events that a resumed run reports again, in order; empty if nothing is saved.
    pub fn so_far(&self) -> &[Event] {
        self.so_far.as_deref().unwrap_or_default()
    }
}
