//! Weights that are computed from other parameters, picked by name.

use glob::Pattern;
use rappel_config::{ConfigError, OptionSet, Options};
use rappel_schedule::Horizon;
use rappel_tensor::{Form, Params};

use crate::regularizers::Patterns;
use crate::weights::pattern;
use crate::{NoWeights, REGULARIZERS, Regularizer};

/// Gives weights that a model registers in `params` from now on the forms that the resolved tables of
/// a config's list `regularize` say; where several match, the first.
///
/// # Errors
/// A pattern that is none.
///
/// ```
/// use rappel_config::Family;
/// use rappel_regularize::{REGULARIZERS, set_forms};
/// use rappel_tensor::{Init, Params};
/// let given = toml::from_str("name = 'weight_norm'\nparams = ['a.*']").unwrap();
/// let section = REGULARIZERS.resolve_options("regularize[0]", &given)?;
/// let mut params = Params::new(0);
/// set_forms(&[section], &mut params)?;
/// params.scope("a").add("weight", [2, 2], Init::ONES);
/// params.scope("b").add("weight", [2, 2], Init::ONES);
/// assert_eq!(params.formed(), ["a.weight"]);
/// # Ok::<(), rappel_config::ConfigError>(())
/// ```
pub fn set_forms(sections: &[Options], params: &mut Params) -> Result<(), ConfigError> {
    let mut forms: Vec<(Option<Vec<Pattern>>, Form)> = Vec::new();
    for options in sections {
        let entry = REGULARIZERS.lookup_at(options.path(), options.name())?;
        // Its length is that of no curve: forms have no schedules.
        let Ok(Regularizer::Form(form)) = (entry.build.build)(options, Horizon { steps: 1 }) else {
            continue;
        };
        let patterns = |globs: Vec<String>| match globs[..] {
            [] => Err(NoWeights::Empty),
            _ => globs.iter().map(|glob| pattern(glob)).collect(),
        };
        let given = Patterns::from_options(options)?.params;
        let patterns: Option<Result<Vec<_>, _>> = given.map(patterns);
        let refused = |error: NoWeights| options.invalid("params", error.to_string());
        forms.push((patterns.transpose().map_err(refused)?, form));
    }
    if !forms.is_empty() {
        params.set_form(move |name, _| {
            let meant = |(patterns, _): &&(Option<Vec<Pattern>>, Form)| match patterns {
                Some(patterns) => patterns.iter().any(|pattern| pattern.matches(name)),
                None => true,
            };
            forms.iter().find(meant).map(|(_, form)| *form)
        });
    }
    Ok(())
}

/// Whether each pattern took a weight.
pub(crate) fn check_forms(patterns: &Patterns, params: &Params) -> Result<(), NoWeights> {
    let formed = params.formed();
    let unmatched = |pattern: &str| {
        let example = params.merged().into_iter().find(|(_, weight)| weight.rank() >= 2);
        let example = example.map_or(String::new(), |(name, _)| name);
        NoWeights::Unmatched { pattern: pattern.to_owned(), example }
    };
    for glob in patterns.params.iter().flatten() {
        let pattern = pattern(glob)?;
        if !formed.iter().any(|name| pattern.matches(name)) {
            return Err(unmatched(glob));
        }
    }
    if formed.is_empty() { Err(NoWeights::NoMatrix) } else { Ok(()) }
}
