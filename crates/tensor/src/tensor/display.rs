//! Printing tensors.

use std::fmt;

use crate::tensor::Tensor;

/// Elements beyond this are left out of the text.
const SHOWN: usize = 64;

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor {} {} [", self.dtype(), self.shape())?;
        for (i, x) in self.to_f64_vec().iter().take(SHOWN).enumerate() {
            write!(f, "{}{x}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(if self.count() > SHOWN { ", ...]" } else { "]" })
    }
}
