//! Models that predict which items a user takes next: a file each.
//!
//! Each makes a vector of a user and one of an item, whose product is the score. Adding one is a file with its `ENTRY` and a
//! line in [`RECOMMENDERS`].

mod ials;
mod mf;
mod sasrec;
mod two_tower;

use std::fmt;

use rappel_config::{ConfigError, Entry, OptionSet, Options, Registry, no_more};
use rappel_nn::Forward;
use rappel_tensor::{DType, Params, Tensor};

use crate::alternating::Alternating;
use crate::dtype::DTypeName;

/// Users that a pass reads: their numbers, and the items that each took before, the last one last.
#[derive(Debug, Clone, Copy)]
pub struct Users<'a> {
    /// Their numbers.
    pub ids: &'a [u32],
    /// The items of each.
    pub histories: &'a [&'a [u32]],
}

/// Vectors of items, and what each adds to its scores.
#[derive(Debug, Clone)]
pub struct ItemVectors {
    /// `[.., width]`.
    pub vectors: Tensor,
    /// `[..]`; none where nothing is added.
    pub bias: Option<Tensor>,
}

/// A model of users and items: the score of a pair is `user . item + bias`.
pub trait Recommender: fmt::Debug + Send + Sync {
    /// A vector for each user, `[users, width]`.
    fn users(&self, users: &Users<'_>, forward: &Forward) -> Tensor;

    /// The vectors of items, whose ids (i64) have any shape `[..]`.
    fn items(&self, ids: &Tensor, forward: &Forward) -> ItemVectors;

    /// Scores `[n, k]` of states `[n, width]` and the `k` items of each, whose ids (i64) are `[n, k]`.
    fn scores(&self, states: &Tensor, ids: &Tensor, forward: &Forward) -> Tensor {
        let ItemVectors { vectors, bias } = self.items(ids, forward);
        let scores = (states.unsqueeze(1) * vectors).sum_axis(2);
        bias.map_or(scores.clone(), |bias| scores + bias)
    }

    /// The vectors of all items.
    fn all_items(&self, forward: &Forward) -> ItemVectors;

    /// Whether a user is what its history says, so that one whom training did not know has a vector, too.
    fn reads_histories(&self) -> bool {
        false
    }

    /// Of a model that reads histories, the longest that it reads.
    fn longest_history(&self) -> Option<usize> {
        None
    }

    /// The vector of a user after each item of its history, all users' one after another: `[items, width]`.
    ///
    /// # Panics
    /// Where the model does not read histories.
    fn states(&self, _histories: &[&[u32]], _forward: &Forward) -> Tensor {
        panic!("{self:?} does not read histories")
    }

    /// How it is trained, where not by gradients.
    fn alternating(&self) -> Option<&dyn Alternating> {
        None
    }

    /// Whether it has dropout layers, whatever their probability.
    fn has_dropout(&self) -> bool {
        false
    }
}

/// What a recommender is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// How many users there are.
    pub users: usize,
    /// How many items.
    pub items: usize,
    /// The type that it computes in, which is that of the parameters.
    pub dtype: DType,
}

/// A recommender whose options are checked.
pub trait RecommenderConfig: fmt::Debug + Send + Sync {
    /// Registers its parameters.
    fn build(&self, params: &mut Params, sizes: Sizes) -> Box<dyn Recommender>;

    /// Numbers that a sample takes in a forward and backward pass, at most about, with so many items scored for it.
    fn numbers_per_sample(&self, scored: usize) -> usize;
}

type Configure = fn(&Options) -> Result<Box<dyn RecommenderConfig>, ConfigError>;
type RecommenderEntry = Entry<Configure>;

/// Every recommender.
///
/// ```
/// use rappel_model::{RECOMMENDERS, Sizes, Users};
/// use rappel_nn::Forward;
/// use rappel_tensor::{DType, Params};
/// let given = toml::from_str("name = 'mf'\nembedding_size = 8").unwrap();
/// let (entry, options) = RECOMMENDERS.resolve("model", &given)?;
/// let mut params = Params::new(0);
/// let model = (entry.build)(&options)?.build(&mut params, Sizes { users: 100, items: 50, dtype: DType::F32 });
/// let users = Users { ids: &[3, 99], histories: &[&[], &[]] };
/// let forward = Forward::evaluation();
/// let scores = model.users(&users, &forward).matmul(&model.all_items(&forward).vectors.t());
/// assert_eq!(*scores.shape(), [2, 50]);
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
pub static RECOMMENDERS: Registry<Configure> = Registry {
    kind: "recommender",
    common: Common::FIELDS,
    entries: &[ials::ENTRY, mf::ENTRY, sasrec::ENTRY, two_tower::ENTRY],
    more: no_more,
};

/// What every recommender takes, beside its own options.
#[derive(Debug, Clone, Copy, Options)]
struct Common {
    /// type of parameters and activations
    #[option(default = DType::F32, with = DTypeName<false>, aka("torch_dtype", "precision"))]
    dtype: DType,
}

/// The type that the options of a recommender say.
///
/// # Errors
/// What is wrong with them.
pub fn recommender_dtype(options: &Options) -> Result<DType, ConfigError> {
    Ok(Common::from_options(options)?.dtype)
}

/// The numbers of rows as a tensor.
fn ids(of: &[u32]) -> Tensor {
    let ids: Vec<i64> = of.iter().map(|id| i64::from(*id)).collect();
    Tensor::from_slice(&ids, [ids.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_sound_and_matches_its_folder() {
        rappel_testkit::assert_sound(&RECOMMENDERS);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/recommenders");
        rappel_testkit::assert_folder_matches(folder.as_ref(), &RECOMMENDERS.names());
    }
}
