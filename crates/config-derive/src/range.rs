//! A Rust range as a `Range` of the config.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Expr, RangeLimits};

/// `0.0..1.0` as `Range::from(0.0).below(1.0)`, which a constant can be; any other expression as it is.
pub fn tokens(config: &TokenStream, range: &Expr) -> TokenStream {
    let Expr::Range(range) = range else { return quote!(#range) };
    let begin = if let Some(start) = &range.start {
        quote!(#config::Range::from((#start) as f64))
    } else {
        quote!(#config::Range::FINITE)
    };
    match (&range.end, &range.limits) {
        (None, _) => begin,
        (Some(end), RangeLimits::HalfOpen(_)) => quote!(#begin.below((#end) as f64)),
        (Some(end), RangeLimits::Closed(_)) => quote!(#begin.to((#end) as f64)),
    }
}
