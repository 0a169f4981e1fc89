#![forbid(unsafe_code)]
//! The derive macros of `rappel-config`: [`Options`] for structs of options, [`Words`] for enums of
//! words, [`Descends`] for the options of update rules. They are documented, with examples, where that crate exports them.

mod attributes;
mod default;
mod descends;
mod options;
mod range;
mod words;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Declares the options of a struct: its defaults, and how they are read, checked, written and explained.
#[proc_macro_derive(Options, attributes(options, option))]
pub fn options(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    options::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes an enum of names the value of an option that takes one of a few words.
#[proc_macro_derive(Words, attributes(options, word))]
pub fn words(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    words::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Says where the options of an update rule have its learning rate and its direction.
#[proc_macro_derive(Descends)]
pub fn descends(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    descends::derive(&input).unwrap_or_else(syn::Error::into_compile_error).into()
}
