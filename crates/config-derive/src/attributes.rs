//! What stands in `#[options(..)]` on a struct and in `#[option(..)]` on a field.

use proc_macro2::TokenStream;
use quote::quote;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, Expr, ExprLit, Lit, LitStr, Meta, Path, Result, Token, Type, parenthesized,
};

/// `#[options(crate = path, check = path)]`.
pub struct OfStruct {
    /// The path of `rappel-config`.
    pub config: TokenStream,
    /// The path of `rappel-optim`, for `Descends`.
    pub optim: TokenStream,
    /// The function that checks the options together.
    pub check: Option<Path>,
}

impl OfStruct {
    /// Reads the attributes of a struct or enum.
    pub fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut of =
            Self { config: quote!(::rappel_config), optim: quote!(::rappel_optim), check: None };
        for attribute in attributes.iter().filter(|one| one.path().is_ident("options")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("crate") {
                    let path: Path = meta.value()?.parse()?;
                    of.config = quote!(#path);
                } else if meta.path.is_ident("optim") {
                    let path: Path = meta.value()?.parse()?;
                    of.optim = quote!(#path);
                } else if meta.path.is_ident("check") {
                    of.check = Some(meta.value()?.parse()?);
                } else {
                    return Err(meta.error("unknown; expected `check`, `crate` or `optim`"));
                }
                Ok(())
            })?;
        }
        Ok(of)
    }
}

/// Where an option's value comes from if a config does not give it.
pub enum Given {
    /// Nothing is said: an `Option` stays unset, all else is required.
    Unsaid,
    /// `default = VALUE`.
    Value(Expr),
    /// `default`: that of the type.
    OfType,
    /// `default_name = "..."`: the entry of that name, of a section.
    Named(LitStr),
    /// `unset = VALUE`: the option stays unset, and the field has this value.
    Unset(Expr),
}

/// `#[option(..)]`.
#[allow(clippy::struct_excessive_bools, reason = "one for each word")]
pub struct OfField {
    pub default: Given,
    pub range: Option<Expr>,
    pub kind: Option<Expr>,
    /// An `OptionAs` for a type of a crate that knows no options.
    pub with: Option<Type>,
    pub name: Option<LitStr>,
    pub also: Option<LitStr>,
    pub aka: Vec<LitStr>,
    pub changeable: bool,
    pub flatten: bool,
    /// The set that is flattened has options that must be given, so that there is no default.
    pub required: bool,
    /// It is not an option.
    pub skip: bool,
}

impl OfField {
    /// Reads the attributes of a field.
    pub fn parse(attributes: &[Attribute]) -> Result<Self> {
        let mut of = Self {
            default: Given::Unsaid,
            range: None,
            kind: None,
            with: None,
            name: None,
            also: None,
            aka: Vec::new(),
            changeable: false,
            flatten: false,
            required: false,
            skip: false,
        };
        for attribute in attributes.iter().filter(|one| one.path().is_ident("option")) {
            attribute.parse_nested_meta(|meta| {
                let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                match name.as_str() {
                    "default" if meta.input.peek(Token![=]) => {
                        of.default = Given::Value(meta.value()?.parse()?);
                    }
                    "default" => of.default = Given::OfType,
                    "default_name" => of.default = Given::Named(meta.value()?.parse()?),
                    "unset" => of.default = Given::Unset(meta.value()?.parse()?),
                    "with" => of.with = Some(meta.value()?.parse()?),
                    "range" => of.range = Some(meta.value()?.parse()?),
                    "kind" => of.kind = Some(meta.value()?.parse()?),
                    "name" => of.name = Some(meta.value()?.parse()?),
                    "also" => of.also = Some(meta.value()?.parse()?),
                    "aka" => {
                        let list;
                        parenthesized!(list in meta.input);
                        let names = Punctuated::<LitStr, Token![,]>::parse_terminated(&list)?;
                        of.aka.extend(names);
                    }
                    "changeable" => of.changeable = true,
                    "flatten" => of.flatten = true,
                    "required" => of.required = true,
                    "skip" => of.skip = true,
                    _ => {
                        return Err(meta.error(
                            "unknown; expected `default`, `default_name`, `unset`, `range`, `kind`, `with`, `name`, \
                             `also`, `aka`, `changeable`, `flatten`, `required` or `skip`",
                        ));
                    }
                }
                Ok(())
            })?;
        }
        Ok(of)
    }
}

/// The lines of a doc comment.
pub fn doc_lines(attributes: &[Attribute]) -> Result<Vec<String>> {
    let docs = attributes.iter().filter(|one| one.path().is_ident("doc"));
    docs.map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.value()),
            other => {
                Err(Error::new(other.span(), "expected a doc comment, which is the help text"))
            }
        },
        other => Err(Error::new(other.span(), "expected a doc comment, which is the help text")),
    })
    .collect()
}
