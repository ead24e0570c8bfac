//! Where a run's events, its best adapters and its states go.

use super::event::Event;
use super::keeper::Kept;
use super::saver::SaveHook;

pub struct Hooks<'a> {
    pub emit: &'a mut dyn FnMut(Event),
    /// Called at every promotion, so that a copy survives whatever happens to this process.
    pub keep: &'a mut dyn FnMut(&Kept),
    /// Who wants run states: at intervals, at a pause and at a stop.
    pub save: Option<SaveHook<'a>>,
}

/// What a run has told. Where run states are saved it remembers the events that a resumed run tells again.
pub(super) struct Log<'a> {
    emit: &'a mut dyn FnMut(Event),
    so_far: Option<Vec<Event>>,
}

impl<'a> Log<'a> {
    pub fn new(emit: &'a mut dyn FnMut(Event), remembers: bool) -> Log<'a> {
        Log { emit, so_far: remembers.then(Vec::new) }
    }

    pub fn tell(&mut self, event: Event) {
        if let Some(events) = self.so_far.as_mut().filter(|_| event.lasts()) {
            events.push(event.clone());
        }
        (self.emit)(event);
    }

    pub fn warn(&mut self, code: &str, message: String) {
        self.tell(Event::Warning { code: code.to_string(), message });
    }

    /// The events to tell again, from the first on; none where nothing is saved.
    pub fn so_far(&self) -> &[Event] {
        self.so_far.as_deref().unwrap_or_default()
    }
}
