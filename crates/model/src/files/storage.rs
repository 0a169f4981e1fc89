//! How the matrices of a model are kept in memory.

use std::collections::BTreeSet;

use rappel_nn::Values;
use rappel_tensor::{CodeBook, DType, MatrixUse, Params, Quantized, Tensor, bf16};

use super::FilesError;
use super::load::ModelFiles;
use super::weights::Places;
use crate::ModelConfig;

/// How matrices that are not trained are kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WeightStorage {
    /// As numbers of the model's type.
    #[default]
    Dense,
    /// In the few bits that their files have them in: blocks of GGUF files, bitsandbytes' forms. Others as numbers.
    AsStored,
    /// Those of linear layers but the head in four bits a number, as bitsandbytes has them; in the few bits that their
    /// files have them in where they do.
    FourBits {
        /// What codes stand for.
        book: CodeBook,
        /// Whether scales are stored in eight bits.
        nested: bool,
    },
    /// The same in eight bits a number.
    EightBits,
}

/// The matrix of a head that is not tied.
const HEAD: &str = "lm_head.weight";

impl WeightStorage {
    /// Has the matrices that it means kept apart in `params`, which is empty. What is not `frozen` is trained, and has to
    /// be numbers.
    pub(super) fn prepare(
        self,
        params: &mut Params,
        files: &ModelFiles,
        config: &dyn ModelConfig,
        frozen: &dyn Fn(&str) -> bool,
    ) {
        if self == Self::Dense {
            return;
        }
        let mut all = Params::new(0);
        config.build_with(&mut all, Values::Placeholders);
        let constants: BTreeSet<String> =
            all.names().into_iter().filter(|name| frozen(name)).collect();
        let few = constants.iter().filter(|name| files.is_in_few_bits(name)).cloned();
        let few: BTreeSet<String> = few.collect();
        params.quantize(move |name, used| {
            let is_linear = used == MatrixUse::Linear && name != HEAD && constants.contains(name);
            few.contains(name) || (self != Self::AsStored && is_linear)
        });
    }

    /// Gives the matrices that are kept apart their numbers, one after another.
    pub(super) fn fill(
        self,
        params: &mut Params,
        places: &Places<'_>,
        dtype: DType,
    ) -> Result<(), FilesError> {
        for (name, shape) in params.quantized() {
            if let Some(stored) = places.quantized(&name)? {
                params.set_quantized(&name, stored);
                continue;
            }
            // What is quantized is what the model would have had in its type.
            let mut numbers = vec![0.0_f32; shape.count()];
            if dtype == DType::BF16 {
                let mut rounded = vec![bf16::ZERO; shape.count()];
                places.read_into(&name, &mut rounded)?;
                numbers.iter_mut().zip(rounded).for_each(|(to, from)| *to = from.to_f32());
            } else {
                places.read_into(&name, &mut numbers)?;
            }
            let numbers = Tensor::from_slice(&numbers, shape);
            if let Some(place) = numbers.first_non_finite() {
                let dir = places.origin().to_owned();
                return Err(FilesError::NotFinite { dir, name, place });
            }
            params.set_quantized(
                &name,
                match self {
                    Self::FourBits { book, nested } => Quantized::four_bits(&numbers, book, nested),
                    _ => Quantized::eight_bits(&numbers),
                },
            );
        }
        Ok(())
    }
}
