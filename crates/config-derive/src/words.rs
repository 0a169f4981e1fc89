//! `#[derive(Words)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Fields, LitStr, Result, Variant};

use crate::attributes::OfStruct;

/// `impl Words` and `impl OptionValue`.
pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(&input.ident, "`Words` is for enums"));
    };
    let (of, ident) = (OfStruct::parse(&input.attrs)?, &input.ident);
    let config = &of.config;
    let words = data.variants.iter().map(word).collect::<Result<Vec<_>>>()?;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    Ok(quote! {
        impl #config::Words for #ident {
            const WORDS: &'static [&'static str] = &[#(#words),*];

            fn word(self) -> &'static str {
                match self { #(Self::#variants => #words),* }
            }

            fn by_word(word: &str) -> ::core::option::Option<Self> {
                match word {
                    #(#words => ::core::option::Option::Some(Self::#variants),)*
                    _ => ::core::option::Option::None,
                }
            }
        }

        impl #config::OptionValue for #ident {
            const KIND: #config::Kind = #config::Kind::OneOf(<Self as #config::Words>::WORDS);

            fn read(
                value: &#config::Checked,
                place: &#config::Place<'_>,
            ) -> ::core::result::Result<Self, #config::ConfigError> {
                #config::read_word(value, place)
            }

            fn write(&self) -> ::core::option::Option<#config::toml::Value> {
                ::core::option::Option::Some(#config::Words::word(*self).into())
            }
        }
    })
}

/// What `#[word("..")]` says, or the variant's name in snake case.
fn word(variant: &Variant) -> Result<LitStr> {
    if !matches!(variant.fields, Fields::Unit) {
        return Err(Error::new_spanned(variant, "a word has no fields"));
    }
    match variant.attrs.iter().find(|one| one.path().is_ident("word")) {
        Some(attribute) => attribute.parse_args(),
        None => Ok(LitStr::new(&snake(&variant.ident.to_string()), variant.ident.span())),
    }
}

fn snake(name: &str) -> String {
    let mut word = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}
