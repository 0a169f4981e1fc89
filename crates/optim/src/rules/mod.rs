//! The rules: one file each, and its line here.

use crate::kernels::RuleEntry;

/// Declares the module of each rule, exports its types, and lists its entry. Modules within a macro are not
/// found by `cargo fmt`; the check of the format names these files itself (`.ci/run`).
macro_rules! rules {
    ($($(#[$attribute:meta])? $module:ident: $($type:ident),+;)*) => {
        $(
            $(#[$attribute])?
            pub(crate) mod $module;
            $(#[$attribute])?
            pub use $module::{$($type),+};
        )*

        /// Every rule, in the order of their names.
        pub const RULES: &[RuleEntry] = &[$($(#[$attribute])? $module::ENTRY),*];
    };
}

rules! {
    adadelta: Adadelta;
    adafactor: Adafactor, AdafactorVariant, Epsilons;
    adagrad: Adagrad;
    adalomo: AdaLomo;
    adam: Adam;
    adam_mini: AdamMini, Partition;
    adamax: Adamax;
    adamw: AdamW;
    adan: Adan;
    ademamix: AdEmaMix;
    adopt: Adopt;
    #[cfg(feature = "decompositions")]
    apollo: Apollo, ApolloScale;
    asgd: Asgd;
    came: Came;
    dadapt_adam: DAdaptAdam;
    dadapt_sgd: DAdaptSgd;
    #[cfg(feature = "decompositions")]
    galore: Galore, ProjectionKind, ProjectionSide;
    lamb: Lamb;
    lars: Lars;
    lbfgs: Lbfgs, LineSearch;
    lion: Lion;
    lomo: Lomo;
    mars: Mars, MarsType;
    muon: AdjustLr, Muon, MuonVariant, NsCoefficients, NsDtype;
    nadam: NAdam;
    prodigy: Prodigy;
    radam: RAdam;
    rmsprop: RmsProp;
    rprop: Rprop;
    schedule_free_adamw: ScheduleFreeAdamW;
    schedule_free_radam: ScheduleFreeRAdam;
    schedule_free_sgd: ScheduleFreeSgd;
    sgd: Sgd;
    #[cfg(feature = "decompositions")]
    shampoo: Shampoo;
    signum: Signum;
    #[cfg(feature = "decompositions")]
    soap: Soap;
    sophia_g: SophiaG;
    sparse_adam: SparseAdam;
    stable_adamw: StableAdamW;
}
