//! Logistic or linear regression on all fields.

use rappel_config::{OptionSet, Options};
use rappel_nn::Forward;
use rappel_tensor::Params;

use super::{FieldBatch, FieldSizes, FirstOrder, Rated, Rater, RaterConfig, RaterEntry};

pub(super) const ENTRY: RaterEntry = RaterEntry {
    name: "lr",
    summary: "a weight for each name of each field: y = b + sum of w_i x_i",
    reference: "Richardson, Dominowska and Ragno, 2007, https://doi.org/10.1145/1242572.1242643",
    fields: Config::FIELDS,
    build: |options| Ok(Box::new(Config::from_options(options)?)),
};

#[derive(Debug, Options)]
struct Config {}

#[derive(Debug)]
struct Regression(FirstOrder);

impl RaterConfig for Config {
    fn build(&self, params: &mut Params, fields: &FieldSizes) -> Box<dyn Rater> {
        Box::new(Regression(FirstOrder::new(params, fields)))
    }

    fn numbers_per_sample(&self, fields: &FieldSizes) -> usize {
        8 * fields.slots.iter().sum::<usize>()
    }
}

impl Rater for Regression {
    fn forward(&self, x: &FieldBatch, _: &Forward) -> Rated {
        let (outputs, rows) = self.0.forward(x);
        Rated { outputs, looked_up: vec![rows] }
    }
}
