//! Which parameters are regularized.

use glob::Pattern;
use rappel_tensor::{DType, Param, Params};

/// The parameters that something is done to.
///
/// From all [`Params`]: the trainable ones of rank 2 and more, for biases and the gains of norms have
/// rank 1 and are left free, as is the custom. With [`matching`](Weights::matching), those whose whole
/// name a glob matches, whatever their rank.
///
/// ```
/// use rappel_regularize::{Weights, l2};
/// use rappel_tensor::{Init, Params};
/// let mut params = Params::new(0);
/// params.scope("net").add("weight", [2, 2], Init::ONES);
/// params.scope("net").add("bias", [2], Init::ONES);
/// assert_eq!(l2(&params, 1.0).item(), 4.0);
/// assert_eq!(l2(Weights::matching(&params, &["*.bias"])?, 1.0).item(), 2.0);
/// # Ok::<(), rappel_regularize::NoWeights>(())
/// ```
#[derive(Debug, Clone)]
pub struct Weights {
    params: Vec<Param>,
    dtype: DType,
}

/// A selection that comes to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoWeights {
    /// A pattern that no trainable parameter's name matches.
    #[error("`{pattern}` matches no trainable parameter; one is `{example}`")]
    Unmatched {
        /// The pattern.
        pattern: String,
        /// A name that could be matched.
        example: String,
    },
    /// What is not a valid glob.
    #[error("`{pattern}` is not a valid pattern: {reason}")]
    Pattern {
        /// The text.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A list of no patterns.
    #[error(
        "is an empty list, which means no parameter; leave it out for all weights, or name some"
    )]
    Empty,
    /// No parameter of rank 2 or more is trained.
    #[error("no trainable parameter has two dimensions; name those that are meant")]
    NoMatrix,
}

impl Weights {
    /// The trainable parameters whose whole name one of the glob `patterns` matches; `*` also stands
    /// for dots. Allocates nothing.
    ///
    /// # Errors
    /// A pattern that matches nothing, or is none; no pattern.
    pub fn matching<S: AsRef<str>>(params: &Params, patterns: &[S]) -> Result<Self, NoWeights> {
        if patterns.is_empty() {
            return Err(NoWeights::Empty);
        }
        let entries = params.entries();
        let names: Vec<&str> =
            entries.iter().filter(|e| e.trainable).map(|e| e.name.as_str()).collect();
        let mut picked = vec![false; names.len()];
        for glob in patterns {
            let glob = glob.as_ref();
            let pattern = pattern(glob)?;
            let mut matched = false;
            for (name, picked) in names.iter().zip(&mut picked) {
                if pattern.matches(name) {
                    (*picked, matched) = (true, true);
                }
            }
            if !matched {
                let example = names.first().map_or(String::new(), |name| (*name).to_owned());
                return Err(NoWeights::Unmatched { pattern: glob.to_owned(), example });
            }
        }
        let picked = names.into_iter().zip(picked).filter(|(_, picked)| *picked);
        Ok(Self::of(params, picked.map(|(name, _)| name)))
    }

    fn of<'a>(params: &Params, names: impl Iterator<Item = &'a str>) -> Self {
        let entries = params.entries();
        let first = entries.first();
        Self {
            params: names.map(|name| params.get(name).expect("an entry of these")).collect(),
            dtype: first.map_or(DType::F32, |entry| entry.dtype.accumulator()),
        }
    }

    /// The parameters.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Their common type: that of the first parameter of all, bfloat16 as `f32`.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The matrices, where there are any.
    ///
    /// # Errors
    /// [`NoWeights::NoMatrix`].
    pub fn matrices(params: &Params) -> Result<Self, NoWeights> {
        let weights = Self::from(params);
        if weights.params.is_empty() { Err(NoWeights::NoMatrix) } else { Ok(weights) }
    }
}

/// A glob over names.
pub(crate) fn pattern(glob: &str) -> Result<Pattern, NoWeights> {
    Pattern::new(glob)
        .map_err(|error| NoWeights::Pattern { pattern: glob.to_owned(), reason: error.to_string() })
}

impl From<&Params> for Weights {
    fn from(params: &Params) -> Self {
        let entries = params.entries();
        let matrices = entries.iter().filter(|e| e.trainable && e.shape.rank() >= 2);
        Self::of(params, matrices.map(|entry| entry.name.as_str()))
    }
}
