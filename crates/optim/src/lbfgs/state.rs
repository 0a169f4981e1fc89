//! What L-BFGS remembers, under PyTorch's names.

use std::sync::Arc;

use super::memory::{Memory, Pair};
use crate::kernels::SearchState;
use crate::kernels::vector::Vector;

impl<A> Memory<A> {
    pub(super) fn save(&self) -> SearchState<A> {
        let each =
            |of: fn(&Pair<A>) -> &Arc<Vector<A>>| self.pairs.iter().map(of).cloned().collect();
        SearchState {
            numbers: vec![
                ("n_iter", self.n_iter as f64),
                ("func_evals", self.func_evals as f64),
                ("t", self.t),
                ("H_diag", self.h_diag),
                ("prev_loss", self.prev_loss),
            ],
            lists: vec![("ro", self.pairs.iter().map(|pair| pair.ro).collect())],
            vectors: vec![("d", self.d.clone()), ("prev_flat_grad", self.prev_flat_grad.clone())],
            histories: vec![("old_dirs", each(|pair| &pair.y)), ("old_stps", each(|pair| &pair.s))],
        }
    }

    /// The state that [`save`](Self::save) gave.
    pub(super) fn load(state: SearchState<A>) -> Self {
        let SearchState { numbers, lists, vectors, histories } = state;
        let number = |i: usize| numbers[i].1;
        let pairs = lists[0].1.iter().zip(&histories[0].1).zip(&histories[1].1);
        Self {
            n_iter: number(0) as u64,
            func_evals: number(1) as u64,
            t: number(2),
            h_diag: number(3),
            prev_loss: number(4),
            d: vectors[0].1.clone(),
            prev_flat_grad: vectors[1].1.clone(),
            pairs: pairs.map(|((&ro, y), s)| Pair { y: y.clone(), s: s.clone(), ro }).collect(),
        }
    }
}
