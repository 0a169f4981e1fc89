//! The options of `rappel generate` that say in how few bits weights are kept.

use rappel_model::WeightStorage;
use rappel_tensor::CodeBook;
use rappel_train::Loading;

#[derive(Debug, clap::Args)]
pub struct QuantizationArgs {
    /// Keep the matrices of linear layers but the head in 4 bits a number, as bitsandbytes does
    #[arg(long, conflicts_with = "load_in_8bit")]
    load_in_4bit: bool,
    /// Keep them in 8 bits a number, with a scale for each row
    #[arg(long)]
    load_in_8bit: bool,
    /// What 4 bits stand for: quantiles of the normal distribution, or floats
    #[arg(long, value_name = "TYPE", value_parser = ["nf4", "fp4"], default_value = "nf4")]
    bnb_4bit_quant_type: String,
    /// Store the scales of 4 bits in 8 bits
    #[arg(long)]
    bnb_4bit_use_double_quant: bool,
}

impl QuantizationArgs {
    /// How the model is read, with its other weights as `dtype`.
    pub fn loading(&self, dtype: Option<&str>) -> Loading {
        let book = if self.bnb_4bit_quant_type == "fp4" { CodeBook::Fp4 } else { CodeBook::Nf4 };
        let storage = if self.load_in_4bit {
            WeightStorage::FourBits { book, nested: self.bnb_4bit_use_double_quant }
        } else if self.load_in_8bit {
            WeightStorage::EightBits
        } else if dtype.is_none() {
            WeightStorage::AsStored
        } else {
            WeightStorage::Dense
        };
        Loading { dtype: dtype.and_then(|name| name.parse().ok()), storage }
    }
}
