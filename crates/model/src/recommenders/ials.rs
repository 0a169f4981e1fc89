//! Implicit feedback by alternating least squares.

use rappel_config::{InvalidOption, OptionSet, Options, Words};
use rappel_nn::{Embedding, Forward};
use rappel_tensor::{DType, Init, Params, Tensor, row_products};

use super::{
    ItemVectors, Recommender, RecommenderConfig, RecommenderEntry, Sizes, Users, ids,
    recommender_dtype,
};
use crate::alternating::{Alternating, Equations, Solver, TakenBy, TakenItems};

pub(super) const ENTRY: RecommenderEntry = RecommenderEntry {
    name: "ials",
    summary: "matrix factorization of implicit feedback by alternating least squares; takes no optimizer, a step is a sweep",
    reference: "Hu, Koren and Volinsky, 2008, https://doi.org/10.1109/ICDM.2008.22; Takács, Pilászy and Tikk, 2011, \
                https://doi.org/10.1145/2043932.2043987",
    fields: Config::FIELDS,
    build: |options| {
        let config = Config::from_options(options)?;
        if recommender_dtype(options)? != DType::F32 {
            return Err(options.invalid("dtype", "ials is computed in float32; leave it out"));
        }
        Ok(Box::new(config))
    },
};

/// How the vector of one user, or of one item, is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
enum SolverName {
    /// Some steps of conjugate gradients from where it was.
    Cg,
    /// Exactly.
    Cholesky,
}

#[derive(Debug, Options)]
#[options(check = Self::check)]
struct Config {
    /// numbers of each vector
    #[option(default = 100, range = 1..=65536, aka("factors", "embedding_dim", "n_factors", "dim"))]
    embedding_size: usize,
    /// times the squares of all vectors
    #[option(default = 0.01, range = rappel_config::Range::above(0.0), aka("reg", "lambda"))]
    regularization: f64,
    /// confidence in an item that was taken, for each time that it was; that in one that was not is 1
    #[option(default = 1.0, range = rappel_config::Range::above(0.0))]
    alpha: f64,
    /// how a vector is found: cg: steps of conjugate gradients from where it was; cholesky: exactly
    #[option(default = SolverName::Cg)]
    solver: SolverName,
    /// steps of conjugate gradients
    #[option(default = 3, range = 1..=1000)]
    cg_steps: usize,
    /// bound of the initial numbers
    #[option(default = 0.01, range = rappel_config::Range::above(0.0))]
    init_bound: f64,
}

impl Config {
    fn check(&self) -> Result<(), InvalidOption> {
        let exact = self.solver == SolverName::Cholesky;
        if exact && self.cg_steps != Self::default().cg_steps {
            return Err(InvalidOption::new(
                "cg_steps",
                "cholesky takes no such steps; leave it out",
            ));
        }
        Ok(())
    }
}

/// Parameters: `user_embedding.weight` `[users, width]`, `item_embedding.weight` `[items, width]`.
#[derive(Debug)]
struct Ials {
    users: Embedding,
    items: Embedding,
    solver: Solver,
    alpha: f32,
    regularization: f32,
}

impl RecommenderConfig for Config {
    fn build(&self, params: &mut Params, sizes: Sizes) -> Box<dyn Recommender> {
        let init = Init::Uniform { bound: self.init_bound };
        let mut table = |name: &str, rows: usize| {
            Embedding::from_init(&mut params.scope(name), rows, self.embedding_size, init)
        };
        let [users, items] = [("user_embedding", sizes.users), ("item_embedding", sizes.items)]
            .map(|(name, rows)| table(name, rows));
        let solver = match self.solver {
            SolverName::Cg => Solver::Gradients(self.cg_steps),
            SolverName::Cholesky => Solver::Exact,
        };
        let (alpha, regularization) = (self.alpha as f32, self.regularization as f32);
        Box::new(Ials { users, items, solver, alpha, regularization })
    }

    fn numbers_per_sample(&self, _: usize) -> usize {
        2
    }
}

impl Ials {
    /// Solves for `solved` by the vectors of the others; the loss of each row.
    fn half(&self, params: &mut Params, [solved, others]: [&Embedding; 2], taken: &TakenBy) -> f64 {
        let width = others.weight().shape()[1];
        // No tensor is left of the parameters that are about to change.
        let (mut gram, others) = {
            let of = others.weight().tensor();
            (of.t().matmul(&of).contiguous().to_vec::<f32>(), of.to_vec::<f32>())
        };
        for i in 0..width {
            gram[i * width + i] += self.regularization;
        }
        let mut vectors = solved.weight().tensor().to_vec::<f32>();
        let loss = Equations {
            gram: &gram,
            others: &others,
            width,
            taken,
            alpha: self.alpha,
            regularization: self.regularization,
            solver: self.solver,
        }
        .solve(&mut vectors);
        let vectors = Tensor::from_slice(&vectors, solved.weight().shape());
        params.set(solved.weight(), &vectors).expect("of its shape and type");
        loss
    }
}

impl Alternating for Ials {
    fn sweep(&self, params: &mut Params, taken: &TakenItems) -> f64 {
        let (users, items) = (&self.users, &self.items);
        self.half(params, [users, items], &taken.by_user);
        let loss = self.half(params, [items, users], &taken.by_item);
        let squares = users.weight().tensor().square().sum().item();
        let pairs = taken.by_user.rows() as f64 * taken.by_item.rows() as f64;
        let all = pairs + taken.by_user.confidence(self.alpha);
        (loss + f64::from(self.regularization) * squares) / all
    }
}

impl Recommender for Ials {
    fn users(&self, users: &Users<'_>, _: &Forward) -> Tensor {
        self.users.forward(&ids(users.ids))
    }

    fn items(&self, ids: &Tensor, _: &Forward) -> ItemVectors {
        ItemVectors { vectors: self.items.forward(ids), bias: None }
    }

    fn scores(&self, states: &Tensor, ids: &Tensor, _: &Forward) -> Tensor {
        row_products(states, &self.items.weight().tensor(), ids)
    }

    fn all_items(&self, _: &Forward) -> ItemVectors {
        ItemVectors { vectors: self.items.weight().tensor(), bias: None }
    }

    fn alternating(&self) -> Option<&dyn Alternating> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use crate::RECOMMENDERS;

    use super::*;

    fn golden() -> Value {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/recommendation/ials.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    fn numbers(value: &Value) -> Vec<f32> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect()
    }

    /// The model of a case after so many sweeps, and its loss.
    fn swept(golden: &Value, solver: &str, sweeps: usize) -> (Vec<f32>, Vec<f32>, f64) {
        let [users, items, width] =
            ["users", "items", "factors"].map(|key| golden[key].as_u64().unwrap() as usize);
        let (alpha, reg) = (golden["alpha"].as_f64().unwrap(), golden["regularization"].as_f64());
        let section = format!(
            "name = 'ials'\nembedding_size = {width}\nalpha = {alpha}\nregularization = {}\nsolver = '{solver}'",
            reg.unwrap()
        );
        let section = toml::from_str(&section).unwrap();
        let (entry, options) = RECOMMENDERS.resolve("model", &section).unwrap();
        let mut params = Params::new(0);
        let sizes = Sizes { users, items, dtype: DType::F32 };
        let model = (entry.build)(&options).unwrap().build(&mut params, sizes);
        for name in ["user", "item"] {
            let table = params.get(&format!("{name}_embedding.weight")).unwrap();
            let value = numbers(&golden[format!("{name}_start")]);
            params.set(&table, &Tensor::from_slice(&value, table.shape())).unwrap();
        }
        let pair = |pair: &Value| {
            let of = |i: usize| pair[i].as_u64().unwrap() as u32;
            (of(0), of(1))
        };
        let pairs: Vec<(u32, u32)> = golden["taken"].as_array().unwrap().iter().map(pair).collect();
        let taken = TakenItems::new([users, items], &pairs);
        let mut loss = 0.0;
        for _ in 0..sweeps {
            loss = model.alternating().unwrap().sweep(&mut params, &taken);
        }
        let of = |name: &str| params.get(name).unwrap().tensor().to_vec::<f32>();
        (of("user_embedding.weight"), of("item_embedding.weight"), loss)
    }

    #[test]
    fn vectors_are_those_of_implicit() {
        let golden = golden();
        for solver in ["cg", "cholesky"] {
            for sweeps in [1, 5] {
                let (users, items, loss) = swept(&golden, solver, sweeps);
                let of = &golden[solver][sweeps.to_string()];
                for (found, expected) in [(users, &of["users"]), (items, &of["items"])] {
                    let expected = numbers(expected);
                    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
                    assert!(largest > 0.1);
                    for (found, expected) in found.iter().zip(&expected) {
                        let off = (found - expected).abs();
                        assert!(off < 1e-4, "{solver} {sweeps}: {found} {expected}");
                    }
                }
                let expected = of["loss"].as_f64().unwrap();
                assert!((loss - expected).abs() < 1e-5 * expected, "{loss} {expected}");
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let golden = golden();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            ["cg", "cholesky"].map(|solver| pool.install(|| swept(&golden, solver, 3)))
        };
        assert_eq!(with(1), with(3));
    }
}
