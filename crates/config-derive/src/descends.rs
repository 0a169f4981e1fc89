//! `#[derive(Descends)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Result};

use crate::attributes::OfStruct;

/// `impl Descends` by the fields `lr` and `maximize`.
pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let (optim, ident) = (OfStruct::parse(&input.attrs)?.optim, &input.ident);
    Ok(quote! {
        impl #optim::rule::Descends for #ident {
            fn lr(&self) -> &#optim::Schedule {
                &self.lr
            }

            fn maximize(&self) -> bool {
                self.maximize
            }
        }
    })
}
