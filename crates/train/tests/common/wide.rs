//! A run whose parameters and optimizer fill memory, and whose steps cost little else.

use std::path::Path;

use rappel_data::Dataset;
use rappel_tensor::{Init, Param, Params, Tensor};
use rappel_train::{Config, Ended, Learner, Model, Objective, Observer, Pass, Run};

/// One sample, of which nothing is used.
struct Nothing;

impl Dataset for Nothing {
    type Batch = ();

    fn len(&self) -> usize {
        1
    }

    fn batch(&self, _: &[usize]) {}

    fn fingerprint(&self) -> String {
        "nothing".to_owned()
    }
}

struct Wide {
    params: Params,
    weight: Param,
}

impl Model for Wide {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }
}

struct Small;

impl Objective for Small {
    type Data = Nothing;
    type Model = Wide;

    fn loss(&self, model: &Wide, (): &(), _: f64, _: &Pass) -> Tensor {
        model.weight.tensor().square().mean()
    }
}

/// Takes so many steps of AdamW with `numbers` parameters, with a checkpoint after each.
pub fn train(dir: &Path, numbers: usize, steps: u64, observer: &mut dyn Observer) {
    let config = format!(
        "optimizer.name = 'adamw'
         train = {{ steps = {steps}, batch_size = 1, log_every = 1, eval_every = 0 }}
         checkpoint = {{ every = 1, keep = 1 }}"
    );
    let config = Config::own(&config, &[]).expect("a config");
    let mut params = Params::new(0);
    let weight = params.scope("").add("weight", [numbers / 1024, 1024], Init::Normal { std: 0.02 });
    let learner = Learner::new(Wide { params, weight }, Nothing, Small);
    let mut run = Run::own(&config, learner, dir, observer).expect("a run");
    assert!(matches!(run.train(observer).expect("a trained model"), Ended::Finished(_)));
}
