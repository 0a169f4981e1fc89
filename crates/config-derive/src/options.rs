//! `#[derive(Options)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, Type};

use crate::attributes::{Given, OfField, OfStruct, doc_lines};
use crate::{default, range};

/// One option.
struct Declared<'a> {
    ident: &'a Ident,
    /// Its type, without the `Option` around it.
    ty: &'a Type,
    is_optional: bool,
    /// Its type as it is declared.
    full: &'a Type,
    name: LitStr,
    help: String,
    of: OfField,
}

impl<'a> Declared<'a> {
    fn parse(field: &'a Field) -> Result<Self> {
        let Some(ident) = &field.ident else {
            return Err(Error::new_spanned(field, "`Options` is for structs with named fields"));
        };
        let of = OfField::parse(&field.attrs)?;
        let lines = doc_lines(&field.attrs)?;
        // What follows the first paragraph is for readers of the code.
        let help: Vec<&str> =
            lines.iter().map(|line| line.trim()).take_while(|line| !line.is_empty()).collect();
        let help = help.join(" ");
        if help.is_empty() && !of.flatten && !of.skip {
            return Err(Error::new_spanned(field, "a doc comment is missing: it is the help text"));
        }
        let optional = default::argument(&field.ty, "Option");
        if of.flatten && optional.is_some() {
            return Err(Error::new_spanned(field, "`flatten` is for a set of options itself"));
        }
        let of_ident = LitStr::new(&ident.unraw().to_string(), ident.span());
        let name = of.name.clone().unwrap_or(of_ident);
        let ty = optional.unwrap_or(&field.ty);
        Ok(Self { ident, ty, is_optional: optional.is_some(), full: &field.ty, name, help, of })
    }

    fn is_required(&self) -> bool {
        match self.of.default {
            Given::Unsaid if self.of.flatten => self.of.required,
            Given::Unsaid => !self.is_optional && !self.of.skip,
            // Only a config has it.
            Given::Named(_) => true,
            _ => false,
        }
    }

    /// The default as an expression of the field's type.
    fn default(&self) -> TokenStream {
        match &self.of.default {
            Given::Value(expr) => {
                let value = default::value(self.ty, expr);
                if self.is_optional { quote!(::core::option::Option::Some(#value)) } else { value }
            }
            Given::Unset(expr) => default::value(self.ty, expr),
            Given::OfType if self.is_optional => {
                quote!(::core::option::Option::Some(::core::default::Default::default()))
            }
            _ => quote!(::core::default::Default::default()),
        }
    }

    /// Its `Field`.
    fn field(&self, config: &TokenStream) -> TokenStream {
        let Self { ty, name, help, .. } = self;
        let kind = match (&self.of.kind, &self.of.with) {
            (Some(kind), _) => quote!(#kind),
            (None, Some(with)) => quote!(<#with as #config::OptionAs<#ty>>::KIND),
            (None, None) => quote!(<#ty as #config::OptionValue>::KIND),
        };
        let kind = match &self.of.range {
            Some(range) => {
                let range = range::tokens(config, range);
                quote!((#kind).within(#range))
            }
            None => kind,
        };
        let write = self.writer(config);
        let written = |text: String, value: TokenStream| {
            quote! {
                #config::Default::Value {
                    text: #text,
                    value: || {
                        let value: #ty = #value;
                        #write(&value)
                    },
                }
            }
        };
        let default = match &self.of.default {
            Given::Value(expr) => written(default::text(expr), default::value(ty, expr)),
            Given::OfType => written(String::new(), quote!(::core::default::Default::default())),
            Given::Named(name) => {
                let text = format!("{{ name = \"{}\" }}", name.value());
                quote! {
                    #config::Default::Value {
                        text: #text,
                        value: || ::core::option::Option::Some(#config::named(#name)),
                    }
                }
            }
            Given::Unset(_) => quote!(#config::Default::Absent),
            Given::Unsaid if self.is_optional => quote!(#config::Default::Absent),
            Given::Unsaid => quote!(#config::Default::Required),
        };
        let also = if let Some(also) = &self.of.also {
            quote!(::core::option::Option::Some(#also))
        } else {
            quote!(::core::option::Option::None)
        };
        let (aka, changeable) = (&self.of.aka, self.of.changeable);
        quote! {
            #config::Field {
                name: #name,
                kind: #kind,
                default: #default,
                doc: #help,
                also: #also,
                aka: &[#(#aka),*],
                changeable: #changeable,
            }
        }
    }

    /// The statement that reads it; those after it may name it.
    fn read(&self, config: &TokenStream) -> TokenStream {
        let Self { ident, ty, name, .. } = self;
        if self.of.skip {
            return quote!(let #ident = ::core::default::Default::default(););
        }
        if self.of.flatten {
            return quote!(let #ident = <#ty as OptionSet>::read_for(__options, __horizon)?;);
        }
        let read = if let Some(with) = &self.of.with {
            quote!(<#with as #config::OptionAs<#ty>>::read)
        } else {
            quote!(<#ty as #config::OptionValue>::read)
        };
        match &self.of.default {
            Given::Unset(_) => {
                let unset = self.default();
                quote! {
                    let #ident = match __options.optional(#name, __horizon, #read)? {
                        ::core::option::Option::Some(value) => value,
                        ::core::option::Option::None => #unset,
                    };
                }
            }
            _ if self.is_optional => {
                quote!(let #ident = __options.optional(#name, __horizon, #read)?;)
            }
            _ => quote!(let #ident = __options.value(#name, __horizon, #read)?;),
        }
    }

    /// The function that writes a value of its type.
    fn writer(&self, config: &TokenStream) -> TokenStream {
        let ty = self.ty;
        if let Some(with) = &self.of.with {
            quote!(<#with as #config::OptionAs<#ty>>::write)
        } else {
            quote!(<#ty as #config::OptionValue>::write)
        }
    }

    fn write(&self, config: &TokenStream) -> TokenStream {
        let Self { ident, name, .. } = self;
        if self.of.skip {
            return quote!();
        }
        if self.of.flatten {
            return quote!(OptionSet::write_into(&self.#ident, table););
        }
        let write = self.writer(config);
        let value = if self.is_optional {
            quote!(self.#ident.as_ref().and_then(#write))
        } else {
            quote!(#write(&self.#ident))
        };
        quote! {
            if let ::core::option::Option::Some(value) = #value {
                table.insert(::std::string::String::from(#name), value);
            }
        }
    }

    fn check_range(&self) -> TokenStream {
        let Self { ident, ty, name, .. } = self;
        if self.of.flatten {
            return quote!(OptionSet::check_ranges(&self.#ident)?;);
        }
        if self.of.with.is_some() || self.of.skip {
            return quote!();
        }
        let check = quote! {
            <#ty as OptionValue>::check(value, <Self as OptionSet>::kind_of(#name))
                .map_err(|reason| InvalidOption::new(#name, reason))?;
        };
        if self.is_optional {
            quote!(if let ::core::option::Option::Some(value) = &self.#ident { #check })
        } else {
            quote!({ let value = &self.#ident; #check })
        }
    }
}

/// `impl OptionSet`, `impl OptionValue`, and `impl Default` where nothing is required.
pub fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let fields = match &input.data {
        Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => &fields.named,
            _ => return Err(Error::new_spanned(&input.ident, "`Options` needs named fields")),
        },
        _ => return Err(Error::new_spanned(&input.ident, "`Options` is for structs")),
    };
    let of = OfStruct::parse(&input.attrs)?;
    let (config, ident) = (&of.config, &input.ident);
    let declared = fields.iter().map(Declared::parse).collect::<Result<Vec<_>>>()?;
    let about =
        doc_lines(&input.attrs)?.iter().fold(String::new(), |text, line| text + line + "\n");
    let idents: Vec<_> = declared.iter().map(|one| one.ident).collect();
    let reads = declared.iter().map(|one| one.read(config));
    let writes = declared.iter().map(|one| one.write(config));
    let checks = declared.iter().map(Declared::check_range);
    let lists = lists(&declared, config);
    let together = declared.iter().filter(|one| one.of.flatten).map(|one| {
        let ident = one.ident;
        quote!(OptionSet::check_together(&self.#ident)?;)
    });
    let check = of.check.iter().map(|check| quote!(#check(self)?;));
    let default = if declared.iter().any(Declared::is_required) {
        quote!()
    } else {
        let defaults = declared.iter().map(|one| {
            let (ident, value) = (one.ident, one.default());
            let ty = one.full;
            quote!(let #ident: #ty = #value;)
        });
        quote! {
            impl ::core::default::Default for #ident {
                fn default() -> Self {
                    #(#defaults)*
                    Self { #(#idents),* }
                }
            }
        }
    };
    Ok(quote! {
        #[allow(clippy::all, clippy::pedantic, reason = "made by a macro")]
        const _: () = {
            use #config::{ConfigError, InvalidOption, OptionSet, OptionValue};

            impl OptionSet for #ident {
                const ABOUT: &'static str = #about;
                const FIELDS: &'static [#config::Field] = {
                    const LISTS: &[&[#config::Field]] = &[#(#lists),*];
                    &#config::joined::<{ #config::count(LISTS) }>(LISTS)
                };

                fn read_for(
                    __options: &#config::Options,
                    __horizon: ::core::option::Option<#config::Horizon>,
                ) -> ::core::result::Result<Self, ConfigError> {
                    #(#reads)*
                    ::core::result::Result::Ok(Self { #(#idents),* })
                }

                fn write_into(&self, table: &mut #config::toml::Table) {
                    #(#writes)*
                }

                fn check_ranges(&self) -> ::core::result::Result<(), InvalidOption> {
                    #(#checks)*
                    ::core::result::Result::Ok(())
                }

                fn check_together(&self) -> ::core::result::Result<(), InvalidOption> {
                    #(#together)*
                    #(#check)*
                    ::core::result::Result::Ok(())
                }
            }

            impl OptionValue for #ident {
                const KIND: #config::Kind = #config::Kind::Table(<Self as OptionSet>::FIELDS);
                const LIST: ::core::option::Option<#config::Kind> =
                    ::core::option::Option::Some(#config::Kind::Tables(<Self as OptionSet>::FIELDS));

                fn read(
                    value: &#config::Checked,
                    place: &#config::Place<'_>,
                ) -> ::core::result::Result<Self, ConfigError> {
                    #config::read_set(value, place)
                }

                fn write(&self) -> ::core::option::Option<#config::toml::Value> {
                    ::core::option::Option::Some(OptionSet::to_toml(self).into())
                }
            }

            #default
        };
    })
}

/// The fields in their order, as lists: what is declared here, and what sets within this one bring.
fn lists(declared: &[Declared], config: &TokenStream) -> Vec<TokenStream> {
    let mut lists = Vec::new();
    let mut own = Vec::new();
    for one in declared {
        if one.of.flatten {
            let ty = one.ty;
            lists.push(quote!(&[#(#own),*]));
            lists.push(quote!(<#ty as #config::OptionSet>::FIELDS));
            own.clear();
        } else if !one.of.skip {
            own.push(one.field(config));
        }
    }
    lists.push(quote!(&[#(#own),*]));
    lists
}
