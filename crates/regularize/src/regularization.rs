//! All regularizers of a run.

use std::fmt;

use rappel_config::{ConfigError, OptionSet, Options};
use rappel_schedule::{Horizon, Schedule};
use rappel_tensor::{Key, Param, Params, ParamsError, Tensor, no_grad};

use crate::forms::check_forms;
use crate::regularizers::Patterns;
use crate::{ActsOn, LossTerms, Mixup, NoWeights, Noise, REGULARIZERS, Regularizer, Weights};

/// All that a config's list `regularize` asks for.
///
/// ```
/// use rappel_config::Family;
/// use rappel_regularize::{REGULARIZERS, Regularization};
/// use rappel_schedule::Horizon;
/// use rappel_tensor::{Init, Params};
/// let given = toml::from_str("name = 'l2'\nlambda = 0.5").unwrap();
/// let section = REGULARIZERS.resolve_options("regularize[0]", &given)?;
/// let mut params = Params::new(0);
/// params.scope("net").add("weight", [2, 2], Init::ONES);
/// let mut all = Regularization::from_sections(&[section], Horizon { steps: 10 })?;
/// all.bind(&params)?;
/// assert_eq!(all.penalty(0).unwrap().item(), 2.0);
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
#[derive(Default)]
pub struct Regularization {
    members: Vec<Member>,
}

/// Their options.
impl fmt::Debug for Regularization {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_list().entries(self.members.iter().map(|member| &member.options)).finish()
    }
}

struct Member {
    options: Options,
    acts_on: ActsOn,
    regularizer: Regularizer,
    /// What it acts on, where that is weights and they are known.
    weights: Option<Weights>,
}

impl Regularization {
    /// Reads the resolved tables of the list for a run of `horizon`.
    ///
    /// # Errors
    /// What is wrong with an option or a schedule; a second one of what there is one of.
    pub fn from_sections(sections: &[Options], horizon: Horizon) -> Result<Self, ConfigError> {
        let mut members: Vec<Member> = Vec::with_capacity(sections.len());
        for options in sections {
            let entry = REGULARIZERS.lookup_at(options.path(), options.name())?;
            let regularizer = (entry.build.build)(options, horizon)?;
            let same = |other: &Member| other.options.name() == entry.name;
            if !options.declares("params") && members.iter().any(same) {
                let reason = format!("`{}` is given twice; give it once", entry.name);
                return Err(options.invalid("name", reason));
            }
            let (options, acts_on) = (options.clone(), entry.build.acts_on);
            members.push(Member { options, acts_on, regularizer, weights: None });
        }
        Ok(Self { members })
    }

    /// Finds the parameters that each regularizer of weights acts on. Fixes the set of parameters.
    ///
    /// # Errors
    /// A pattern that matches no trainable parameter.
    pub fn bind(&mut self, params: &Params) -> Result<(), ConfigError> {
        for member in self.members.iter_mut().filter(|member| member.options.declares("params")) {
            let refused = |error: NoWeights| member.options.invalid("params", error.to_string());
            if let Regularizer::Form(_) = member.regularizer {
                let patterns = Patterns::from_options(&member.options)?;
                check_forms(&patterns, params).map_err(refused)?;
                continue;
            }
            let found = match Patterns::from_options(&member.options)?.params {
                Some(patterns) => Weights::matching(params, &patterns),
                None => Weights::matrices(params),
            };
            member.weights = Some(found.map_err(refused)?);
        }
        Ok(())
    }

    /// What is added to the loss at `step`, counted from 0; none where nothing is. Where penalties
    /// act after the update, they are left out.
    ///
    /// # Panics
    /// Before [`bind`](Regularization::bind).
    pub fn penalty(&self, step: u64) -> Option<Tensor> {
        let of = |member: &Member| match &member.regularizer {
            Regularizer::Penalty { penalty, lambda, proximal: false } => {
                Some(penalty.of(member.weights(), lambda.at(step)))
            }
            _ => None,
        };
        self.members.iter().filter_map(of).reduce(|sum, penalty| sum + penalty)
    }

    /// The config key of the first regularizer that changes parameters after a step.
    pub fn moves_parameters(&self) -> Option<&Options> {
        let moves = |regularizer: &Regularizer| {
            matches!(
                regularizer,
                Regularizer::Constraint { .. } | Regularizer::Penalty { proximal: true, .. }
            )
        };
        self.members.iter().find(|member| moves(&member.regularizer)).map(|member| &member.options)
    }

    /// What is done to parameters after the update of `step`, in which each had the learning rate that
    /// `lr` says: proximal steps, constraints, in the order of the config.
    ///
    /// # Errors
    /// [`ParamsError::InUse`] while a graph holds parameters.
    ///
    /// # Panics
    /// Before [`bind`](Regularization::bind).
    pub fn after_step(
        &self,
        step: u64,
        params: &mut Params,
        lr: &dyn Fn(&Param) -> f64,
    ) -> Result<(), ParamsError> {
        for member in &self.members {
            match &member.regularizer {
                Regularizer::Penalty { penalty, lambda, proximal: true } => {
                    let lambda = lambda.at(step);
                    member.change(params, |param, weight| {
                        let point = penalty.proximal(weight, lr(param) * lambda);
                        point.expect("the option is only declared where there is one")
                    })?;
                }
                Regularizer::Constraint { constraint, value } => {
                    member
                        .change(params, |_, weight| constraint.project(weight, value.at(step)))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What regularizes a cross-entropy at `step`.
    pub fn loss_terms(&self, step: u64) -> LossTerms {
        let mut terms = LossTerms::default();
        for member in &self.members {
            if let Regularizer::Loss { value, set } = &member.regularizer {
                set(&mut terms, value.at(step));
            }
        }
        terms
    }

    /// What is random in a forward pass of `step`; what is the same for all layers is drawn from
    /// `key`.
    pub fn noise(&self, step: u64, key: Key) -> Noise {
        let mut noise = Noise::default();
        for member in &self.members {
            match &member.regularizer {
                Regularizer::Noise { value, set } => set(&mut noise, value.at(step)),
                Regularizer::Mixup { alpha } => {
                    let alpha = Some(alpha.at(step)).filter(|alpha| *alpha > 0.0);
                    noise.mixup = alpha.map(|alpha| Mixup { alpha, key: key.with_name("mixup") });
                }
                _ => {}
            }
        }
        noise
    }

    /// Each regularizer that a model or a loss must have something for: its options and what that is, in
    /// order.
    pub fn within_a_pass(&self) -> impl Iterator<Item = (&Options, ActsOn)> {
        let within = |member: &&Member| member.acts_on.within_a_pass();
        self.members.iter().filter(within).map(|member| (&member.options, member.acts_on))
    }

    /// Whether a forward pass computes with weights beyond the model: penalties, and weights in other forms.
    pub fn computes_with_weights(&self) -> bool {
        self.members.iter().any(|member| {
            matches!(member.regularizer, Regularizer::Penalty { .. } | Regularizer::Form(_))
        })
    }

    /// The variance of the noise on gradients; none where there is none.
    pub fn gradient_noise(&self) -> Option<&Schedule> {
        self.members.iter().find_map(|member| match &member.regularizer {
            Regularizer::GradientNoise { variance } => Some(variance),
            _ => None,
        })
    }
}

impl Member {
    fn weights(&self) -> &Weights {
        self.weights.as_ref().expect("bound to parameters before the first step")
    }

    /// Replaces each weight, computed in the accumulator of its type.
    fn change(
        &self,
        params: &mut Params,
        change: impl Fn(&Param, &Tensor) -> Tensor,
    ) -> Result<(), ParamsError> {
        for param in self.weights().params() {
            let changed = no_grad(|| {
                let weight = param.tensor();
                let weight = weight.to_dtype(weight.dtype().accumulator());
                change(param, &weight)
            });
            params.set(param, &changed)?;
        }
        Ok(())
    }
}
