//! Where the events, the best adapters and the run states of a run go, and who helps.

use super::event::Event;
use super::keeper::Kept;
use super::saver::SaveHook;
use super::settings::Settings;
use super::team::Helper;
use crate::warning::Warning;

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
    /// The last one.
    config: Option<Event>,
}

impl<'a> Log<'a> {
    pub fn new(emit: &'a mut dyn FnMut(Event), remembers: bool) -> Log<'a> {
        Log { emit, so_far: remembers.then(Vec::new), config: None }
    }

    pub fn report(&mut self, event: Event) {
        if let Event::Config { .. } = event {
            self.config = Some(event.clone());
        }
        if let Some(events) = self.so_far.as_mut().filter(|_| event.lasts()) {
            events.push(event.clone());
        }
        (self.emit)(event);
    }

    pub fn warn(&mut self, code: &str, message: String) {
        self.report(Event::Warning { code: code.to_string(), message });
    }

    /// Reports why the run goes on with other settings, and its config again.
    pub fn change(&mut self, why: Warning, changed: &Settings, engines: usize) {
        self.warn(why.code, why.message);
        let Some(mut config) = self.config.take() else { return };
        if let Event::Config { settings, workers, .. } = &mut config {
            (**settings, *workers) = (changed.clone(), engines);
        }
        self.report(config);
    }

    /// The events that a resumed run reports again, in order; empty if nothing is saved.
    pub fn so_far(&self) -> &[Event] {
        self.so_far.as_deref().unwrap_or_default()
    }
}
