//! Initial values of parameters.

use rappel_tensor::Init;

/// What parameters hold at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Random numbers and constants as the architecture says.
    Drawn,
    /// Anything cheap: they are about to be loaded.
    Placeholders,
}

impl Values {
    /// Normal numbers of this standard deviation, where values are drawn; nothing is drawn for 0.
    ///
    /// ```
    /// use rappel_nn::Values;
    /// use rappel_tensor::Init;
    /// assert_eq!(Values::Drawn.normal(0.02), Init::Normal { std: 0.02 });
    /// assert_eq!(Values::Placeholders.normal(0.02), Init::ZEROS);
    /// ```
    pub fn normal(self, std: f64) -> Init {
        if self == Self::Placeholders || std == 0.0 { Init::ZEROS } else { Init::Normal { std } }
    }
}
