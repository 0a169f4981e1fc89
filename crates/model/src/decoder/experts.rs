//! Mixtures of experts.

use rappel_nn::{Activation, Forward, GatedMlp, Linear};
use rappel_tensor::{Init, Scope, Tensor, concat};

use super::shape::ExpertsShape;

/// Gated layers of which a router chooses a few for each token, and weighs what they make of it
/// (Shazeer et al., <https://arxiv.org/abs/1701.06538>; Jiang et al., <https://arxiv.org/abs/2401.04088>).
#[derive(Debug, Clone)]
pub(super) struct Experts {
    shape: ExpertsShape,
    router: Linear,
    experts: Vec<GatedMlp>,
}

/// How the tokens of a layer are spread over its experts, `[2, experts]`: how many experts each token on average
/// goes to, and the mean of the router's probabilities.
pub(super) type Load = Tensor;

impl Experts {
    pub fn new(
        scope: &mut Scope<'_>,
        shape: &ExpertsShape,
        width: usize,
        activation: Activation,
        init: Init,
    ) -> Self {
        let router = Linear::from_init(&mut scope.scope("gate"), width, shape.count, init, false);
        let expert = |i: usize| {
            let mut scope = scope.scope(&format!("experts.{i}"));
            GatedMlp::new(&mut scope, shape.parts, [width, shape.inner], activation, init, false)
        };
        let experts = (0..shape.count).map(expert).collect();
        Self { shape: shape.clone(), router, experts }
    }

    /// `[batch, time, width]` to the same; and the load, in a pass that trains and balances it.
    pub fn forward(&self, x: &Tensor, forward: &Forward) -> (Tensor, Option<Load>) {
        let ExpertsShape { count, active, normalised, balance, jitter, .. } = self.shape;
        let (shape, width) = (x.shape(), x.size(2));
        let mut rows = x.reshape([x.size(0) * x.size(1), width]);
        if forward.train && jitter > 0.0 {
            let key = forward.key.with_name("jitter");
            let factors = Tensor::rand(rows.shape(), 1.0 - jitter, 1.0 + jitter, x.dtype(), key);
            rows = &rows * &factors;
        }
        // Probabilities are as exact as sums, whatever the type of states.
        let logits = self.router.forward(&rows).to_dtype(x.dtype().accumulator());
        let probabilities = logits.softmax(1);
        let routes = Routes::new(&probabilities, active);
        let mut weights = probabilities.gather(1, &routes.chosen);
        if normalised {
            weights = &weights / &weights.sum_to([weights.size(0), 1]);
        }
        let weights = weights.to_dtype(x.dtype()).reshape([rows.size(0) * active, 1]);
        let results = self.experts.iter().zip(&routes.rows);
        let results: Vec<Tensor> =
            results.map(|(expert, ids)| expert.forward(&rows.index_select(0, ids))).collect();
        let results = concat(&results.iter().collect::<Vec<_>>(), 0);
        let results = results.index_select(0, &routes.places) * weights;
        let sums = results.reshape([rows.size(0), active, width]).sum_axis(1);
        let load = balance.filter(|_| forward.train).map(|_| {
            let share = 1.0 / rows.size(0) as f64;
            let sizes = routes.rows.iter().map(|ids| ids.count() as f64 * share);
            let sizes = Tensor::from_slice(&sizes.collect::<Vec<_>>(), [1, count]);
            let mean = probabilities.sum_to([1, count]) * share;
            concat(&[&sizes.to_dtype(mean.dtype()), &mean], 0)
        });
        (sums.reshape(shape), load)
    }
}

/// Which tokens go to which experts.
struct Routes {
    /// i64 `[tokens, active]`, the experts of each token.
    chosen: Tensor,
    /// The tokens of each expert, in order.
    rows: Vec<Tensor>,
    /// Where, among all experts' results one after another, those of each token are, `[tokens * active]`.
    places: Tensor,
}

impl Routes {
    /// The `active` most probable experts of each token, the first of equals.
    fn new(probabilities: &Tensor, active: usize) -> Self {
        let (tokens, count) = (probabilities.size(0), probabilities.size(1));
        let values = probabilities.detach().to_f64_vec();
        let mut chosen = Vec::with_capacity(tokens * active);
        let mut rows = vec![Vec::new(); count];
        for (token, values) in values.chunks_exact(count).enumerate() {
            let mut order: Vec<usize> = (0..count).collect();
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            for &expert in &order[..active] {
                // Where among the expert's tokens this one is.
                chosen.push((expert, rows[expert].len()));
                rows[expert].push(token as i64);
            }
        }
        let starts: Vec<usize> = rows
            .iter()
            .scan(0, |start, rows: &Vec<i64>| Some(std::mem::replace(start, *start + rows.len())))
            .collect();
        let ids = |ids: Vec<i64>| Tensor::from_slice(&ids, [ids.len()]);
        let places = chosen.iter().map(|(expert, place)| (starts[*expert] + place) as i64);
        let experts = chosen.iter().map(|(expert, _)| *expert as i64);
        Self {
            places: ids(places.collect()),
            chosen: ids(experts.collect()).reshape([tokens, active]),
            rows: rows.into_iter().map(ids).collect(),
        }
    }
}

/// The loss that balances the load of all layers, whose mean it is of: 1 where all experts get as much
/// (Fedus et al., <https://arxiv.org/abs/2101.03961>, over all layers together as transformers has it, times the
/// experts of a token).
pub(super) fn imbalance(loads: &[Load]) -> Option<Tensor> {
    let first = loads.first()?;
    let experts = first.size(1) as f64;
    let mean = loads[1..].iter().fold(first.clone(), |sum, load| sum + load.clone());
    let mean = mean * (1.0 / loads.len() as f64);
    Some((mean.narrow(0, 0, 1) * mean.narrow(0, 1, 1)).sum() * experts)
}
