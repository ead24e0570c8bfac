//! What a terminal shows of a run: a progress bar, and a line for what is worth one.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tabtune::run::Event;

pub struct Screen {
    bar: ProgressBar,
}

impl Screen {
    pub fn new(steps: u32) -> Screen {
        let bar = ProgressBar::with_draw_target(Some(u64::from(steps)), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps  {msg}  {elapsed}");
        bar.set_style(style.expect("the template of the progress bar is valid"));
        Screen { bar }
    }

    pub fn close(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: String) {
        if self.bar.is_hidden() {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    pub fn show(&self, event: &Event) {
        match event {
            Event::Config { rows, held_out, parameters, device, .. } => {
                self.say(format!("{rows} rows to train on, {held_out} held out; {parameters} parameters; {device}"));
            }
            Event::Phase { .. } | Event::Checkpoint { .. } => {}
            Event::Step { step, loss, tokens_per_second, eta_ms, .. } => {
                self.bar.set_position(u64::from(*step));
                let left = Duration::from_millis(*eta_ms as u64).as_secs();
                self.bar.set_message(format!("loss {loss:.3}  {tokens_per_second:.0} tokens/s  {left} s left"));
            }
            // The warning `nothing_measured` says it once.
            Event::Eval { loss: None, .. } => {}
            Event::Eval { step: 0, loss: Some(loss), tokens } => {
                self.say(format!("held-out loss of the base {loss:.4} over {tokens} tokens"));
            }
            Event::Eval { step, loss: Some(loss), .. } => self.say(format!("step {step}: held-out loss {loss:.4}")),
            Event::Sample { step, prompt, text } => self.say(format!("step {step}: {prompt}{text}")),
            // The last line of the run says it.
            Event::Warning { code, .. } if code == "non_finite" => {}
            Event::Warning { code, message } => self.say(format!("warning[{code}]: {message}")),
            Event::Done { step, best_loss, best_step, .. } => {
                let best = best_loss.map_or(String::new(), |loss| format!(", held-out loss {loss:.4}"));
                self.say(format!("{step} steps; kept step {best_step}{best}"));
            }
        }
    }
}
