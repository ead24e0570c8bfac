//! From flags to the settings of a run.

use tabtune::adapter::{AdapterFiles, SiteSpec};
use tabtune::error::{Error, Result};
use tabtune::model::Config;
use tabtune::run::{Method, Settings};
use tabtune::train::Schedule;

use super::flags::TrainArgs;

fn usage<T>(reason: String) -> Result<T> {
    Err(Error::Usage { reason })
}

/// A flag replaces the setting that it names.
fn replace<T: Clone>(setting: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        *setting = value.clone();
    }
}

impl TrainArgs {
    /// The settings of a run but its steps: the usual ones, changed by the flags. Rank, alpha and targets come from the
    /// adapter that a run starts from.
    pub fn settings(&self, mut settings: Settings, init: Option<&AdapterFiles>, config: &Config) -> Result<Settings> {
        let method = self.method(settings.method)?;
        settings = settings.with_method(method);
        settings.schedule = self.schedule(settings.schedule)?;
        if let Some(rank) = self.rank {
            (settings.rank, settings.alpha) = (rank, 2.0 * rank as f64);
        }
        replace(&mut settings.alpha, &self.alpha);
        replace(&mut settings.targets, &self.targets);
        replace(&mut settings.lr, &self.lr);
        replace(&mut settings.warmup, &self.warmup);
        replace(&mut settings.batch, &self.batch);
        replace(&mut settings.seq_len, &self.seq_len);
        replace(&mut settings.accumulate, &self.accumulate);
        replace(&mut settings.clip, &self.clip);
        replace(&mut settings.weight_decay, &self.weight_decay);
        replace(&mut settings.dropout, &self.dropout);
        settings.lean |= self.lean;
        settings.checkpointing |= self.checkpointing;
        settings.packing |= self.packing;
        settings.autotune &= !self.no_autotune;
        replace(&mut settings.patience, &self.patience);
        if self.holdout.is_some() || self.eval_data.is_some() {
            settings.holdout_at_most = None;
        }
        replace(&mut settings.holdout, &self.holdout);
        replace(&mut settings.eval_every, &self.eval_every);
        replace(&mut settings.sample_every, &self.sample_every);
        replace(&mut settings.prompt, &self.prompt);
        replace(&mut settings.seed, &self.seed);
        settings.shuffle &= !self.no_shuffle;
        if let Some(init) = init {
            self.follow(init, config, &mut settings)?;
        }
        settings.check(config)?;
        Ok(settings)
    }

    fn method(&self, usual: Method) -> Result<Method> {
        let method = match self.method.as_deref() {
            None => usual,
            Some("lora") => Method::Lora,
            Some("full") => Method::Full,
            Some(other) => return usage(format!("--method {other}: expected lora or full")),
        };
        let lora_only = self.rank.is_some() || self.alpha.is_some() || self.targets.is_some() || self.init.is_some();
        if method == Method::Full && lora_only {
            return usage("--rank, --alpha, --targets and --init belong to --method lora".to_string());
        }
        Ok(method)
    }

    fn schedule(&self, usual: Schedule) -> Result<Schedule> {
        match self.schedule.as_deref() {
            None => Ok(usual),
            Some("linear") => Ok(Schedule::Linear),
            Some("cosine") => Ok(Schedule::Cosine),
            Some("constant") => Ok(Schedule::Constant),
            Some(other) => usage(format!("--schedule {other}: expected linear, cosine or constant")),
        }
    }

    /// Rank, alpha and targets come from the adapter that a run starts from; a flag may repeat them, not contradict
    /// them.
    fn follow(&self, init: &AdapterFiles, config: &Config, settings: &mut Settings) -> Result<()> {
        let spec = init.spec(config)?;
        let every_site = |same: &dyn Fn(&SiteSpec) -> bool| spec.sites().iter().all(same);
        let covers = |asked: &String| {
            let asked = config.family.parse_targets(asked);
            asked.is_ok_and(|asked| asked == spec.targets() && spec.sites().len() == asked.len() * config.layers)
        };
        let contradicts = self.rank.is_some_and(|rank| !every_site(&|site| site.rank == rank))
            || self.alpha.is_some_and(|alpha| !every_site(&|site| site.alpha == alpha))
            || self.targets.as_ref().is_some_and(|asked| !covers(asked));
        let targets = spec.target_names(config).join(",");
        if contradicts {
            let (rank, alpha, linears) = (spec.rank(), spec.alpha(), spec.sites().len());
            let several = if spec.is_uniform() { "" } else { " (the largest; they differ between linears)" };
            return usage(format!(
                "--init has rank {rank}, alpha {alpha}{several}, on {linears} linears, targets {targets}: \
                 leave out the flags that say otherwise"
            ));
        }
        (settings.rank, settings.alpha, settings.targets) = (spec.rank(), spec.alpha(), targets);
        Ok(())
    }

    /// The number of steps of a run over `rows` rows; `resumed` is that of the run that goes on.
    pub fn steps(&self, settings: &Settings, rows: usize, resumed: Option<u32>) -> u32 {
        let of_epochs = |epochs: f64| (epochs * rows.div_ceil(settings.batch * settings.accumulate) as f64).ceil();
        self.steps
            .or(self.epochs.map(|epochs| of_epochs(epochs) as u32))
            .or(resumed)
            .unwrap_or_else(|| settings.default_steps(rows))
    }
}
