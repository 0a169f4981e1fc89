//! How matrices that are not trained are kept, under bitsandbytes' names.

use rappel_config::{InvalidOption, Options, Words};
use rappel_model::WeightStorage;
use rappel_tensor::{CodeBook, DType};

/// What four bits stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum QuantType {
    /// Quantiles of the normal distribution.
    Nf4,
    /// Floats of four bits.
    Fp4,
}

/// Few bits a number for the matrices that are not trained; their products are computed in the model's dtype.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
#[allow(clippy::struct_excessive_bools)] // bitsandbytes' names.
pub struct QuantizationOptions {
    /// keep the matrices of linear layers but the head in 4 bits a number, as bitsandbytes does: QLoRA (Dettmers et al.,
    /// 2023); a folder that bitsandbytes quantized stays as it is
    #[option(default = false, aka("4bit", "use_4bit"))]
    pub load_in_4bit: bool,
    /// keep them in 8 bits a number with a scale for each row, as bitsandbytes does
    #[option(default = false, aka("8bit", "use_8bit"))]
    pub load_in_8bit: bool,
    /// keep each matrix in the few bits that its file has it in, such as a GGUF file's Q8_0 and Q4_K
    #[option(default = false, aka("keep", "native"))]
    pub as_stored: bool,
    /// what 4 bits stand for
    #[option(default = QuantType::Nf4, aka("quant_type", "quantization_type"))]
    pub bnb_4bit_quant_type: QuantType,
    /// store the scales of 4 bits in 8 bits: 0.37 bits a number less
    #[option(default = false, aka("double_quant", "double_quantization", "use_bnb_nested_quant"))]
    pub bnb_4bit_use_double_quant: bool,
}

impl QuantizationOptions {
    fn check(&self) -> Result<(), InvalidOption> {
        let given = [self.load_in_4bit, self.load_in_8bit, self.as_stored];
        let reason = match given.into_iter().filter(|given| *given).count() {
            1 => return Ok(()),
            0 => {
                "is false, and so are load_in_8bit and as_stored; set one of them, or leave the table out"
            }
            _ => "only one of load_in_4bit, load_in_8bit and as_stored can be true",
        };
        Err(InvalidOption::new("load_in_4bit", reason))
    }

    /// What it means for a model's files.
    pub fn storage(&self) -> WeightStorage {
        let book = match self.bnb_4bit_quant_type {
            QuantType::Nf4 => CodeBook::Nf4,
            QuantType::Fp4 => CodeBook::Fp4,
        };
        if self.load_in_4bit {
            return WeightStorage::FourBits { book, nested: self.bnb_4bit_use_double_quant };
        }
        if self.as_stored { WeightStorage::AsStored } else { WeightStorage::EightBits }
    }
}

/// How a model is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loading {
    /// The type that weights are rounded to; unset: that of the files.
    pub dtype: Option<DType>,
    /// How matrices are kept.
    pub storage: WeightStorage,
}

impl From<Option<DType>> for Loading {
    fn from(dtype: Option<DType>) -> Self {
        Self { dtype, storage: WeightStorage::Dense }
    }
}
