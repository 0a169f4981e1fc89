//! Defaults: the value as an expression of the field's type, and the text that help shows of it.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Expr, ExprUnary, Lit, Type, UnOp};

/// The types whose literals need no conversion.
const PLAIN: [&str; 7] = ["bool", "f64", "i64", "u32", "u64", "usize", "i32"];

/// `value` as an expression of type `ty`: literals are converted where they are of another type.
pub fn value(ty: &Type, value: &Expr) -> TokenStream {
    match (ty, value) {
        (Type::Array(array), Expr::Array(list)) => {
            let items = list.elems.iter().map(|item| self::value(&array.elem, item));
            quote!([#(#items),*])
        }
        (_, Expr::Array(list)) => {
            if let Some(of) = argument(ty, "Vec") {
                let items = list.elems.iter().map(|item| self::value(of, item));
                quote!(::std::vec![#(#items),*])
            } else {
                quote!(#value)
            }
        }
        _ if is_literal(value) && !is_plain(ty) => quote!(::core::convert::Into::into(#value)),
        _ => quote!(#value),
    }
}

/// A literal as help shows it, as it is written; empty for what is not a literal, whose value is shown.
pub fn text(value: &Expr) -> String {
    match value {
        Expr::Array(list) => {
            let items: Vec<String> = list.elems.iter().map(text).collect();
            if items.iter().any(String::is_empty) {
                return String::new();
            }
            format!("[{}]", items.join(", "))
        }
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) if is_literal(expr) => {
            format!("-{}", text(expr))
        }
        Expr::Lit(literal) => match &literal.lit {
            Lit::Bool(lit) => lit.value.to_string(),
            Lit::Int(lit) => lit.to_string().replace('_', ""),
            Lit::Float(lit) => lit.to_string(),
            // As TOML writes it, so that its escapes are right.
            _ => String::new(),
        },
        _ => String::new(),
    }
}

fn is_literal(value: &Expr) -> bool {
    match value {
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => is_literal(expr),
        Expr::Lit(_) => true,
        _ => false,
    }
}

fn is_plain(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if PLAIN.iter().any(|name| path.path.is_ident(name)))
}

/// `T` where `ty` is `name<T>`.
pub fn argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let syn::PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first()? {
        syn::GenericArgument::Type(of) => Some(of),
        _ => None,
    }
}
