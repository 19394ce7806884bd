//! What stands in the brackets of an attribute.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitFloat, LitInt, LitStr, Meta, MetaList, MetaNameValue, Result, Token};

/// The one option that is several numbers with names.
pub(crate) const GROUPS: &str = "concurrency_groups";

/// Options in the order in which they were written.
pub(crate) struct Options(Vec<(String, Value, Span)>);

enum Value {
    Flag,
    Int(LitInt),
    Float(LitFloat),
    Text(LitStr),
    /// Several, each with a name.
    Numbers(Vec<(Ident, LitInt)>),
}

impl Options {
    pub(crate) fn parse(tokens: TokenStream, known: &[&str]) -> Result<Self> {
        let metas = Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens)?;
        metas.iter().map(|meta| read(meta, known)).collect::<Result<_>>().map(Self)
    }

    /// A number that the macro itself needs.
    pub(crate) fn number(&self, name: &str) -> Result<Option<usize>> {
        match self.0.iter().find(|(key, ..)| key == name) {
            None => Ok(None),
            Some((_, Value::Int(number), _)) => number.base10_parse().map(Some),
            Some((_, _, span)) => Err(Error::new(*span, format!("`{name}` is a number, as in `{name} = 2`"))),
        }
    }

    /// Whether a flag is set that the macro itself needs.
    pub(crate) fn flag(&self, name: &str) -> Result<bool> {
        match self.0.iter().find(|(key, ..)| key == name) {
            None => Ok(false),
            Some((_, Value::Flag, _)) => Ok(true),
            Some((_, _, span)) => Err(Error::new(*span, format!("`{name}` stands alone"))),
        }
    }

    /// A text that the macro itself needs.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&LitStr>> {
        match self.0.iter().find(|(key, ..)| key == name) {
            None => Ok(None),
            Some((_, Value::Text(text), _)) => Ok(Some(text)),
            Some((_, _, span)) => Err(Error::new(*span, format!("`{name}` is a text, as in `{name} = \"io\"`"))),
        }
    }

    /// Numbers with names that the macro itself needs.
    pub(crate) fn numbers(&self, name: &str) -> Result<&[(Ident, LitInt)]> {
        match self.0.iter().find(|(key, ..)| key == name) {
            None => Ok(&[]),
            Some((_, Value::Numbers(numbers), _)) => Ok(numbers),
            Some((_, _, span)) => Err(Error::new(*span, format!("it is written `{name}(io = 2, compute = 4)`"))),
        }
    }

    /// Where an option stands, if it was written.
    pub(crate) fn place(&self, name: &str) -> Option<Span> {
        self.0.iter().find(|(key, ..)| key == name).map(|(.., span)| *span)
    }

    /// The options as calls on a builder, except for `own`, those of the macro itself.
    pub(crate) fn calls(&self, own: &[&str]) -> Result<TokenStream> {
        let mut calls = TokenStream::new();
        let mut resources = TokenStream::new();
        for (name, value, span) in self.0.iter().filter(|(name, ..)| !own.contains(&name.as_str())) {
            let method = format_ident!("{name}", span = *span);
            match (name.as_str(), value) {
                ("cpus" | "gpus", Value::Int(amount)) => resources.extend(quote!(.#method(#amount as f64))),
                ("cpus" | "gpus", Value::Float(amount)) => resources.extend(quote!(.#method(#amount))),
                ("cpus" | "gpus", _) => {
                    return Err(Error::new(*span, format!("`{name}` is an amount: `{name} = 0.5`")));
                }
                ("timeout", Value::Text(text)) => {
                    let millis = millis(text)?;
                    calls.extend(quote!(.timeout(::core::time::Duration::from_millis(#millis))));
                }
                ("timeout", _) => return Err(Error::new(*span, "`timeout` is a text, as in `timeout = \"30s\"`")),
                (_, Value::Flag) => calls.extend(quote!(.#method())),
                (_, Value::Int(number)) => calls.extend(quote!(.#method(#number))),
                (_, Value::Float(number)) => calls.extend(quote!(.#method(#number))),
                (_, Value::Text(text)) => calls.extend(quote!(.#method(#text))),
                (_, Value::Numbers(_)) => return Err(Error::new(*span, format!("`{name}` is one value"))),
            }
        }
        if !resources.is_empty() {
            calls.extend(quote!(.resources(<::tandem::Resources as ::core::default::Default>::default() #resources)));
        }
        Ok(calls)
    }
}

fn read(meta: &Meta, known: &[&str]) -> Result<(String, Value, Span)> {
    let name = meta.path().get_ident().map(ToString::to_string).unwrap_or_default();
    if !known.contains(&name.as_str()) {
        let known = known.join("`, `");
        return Err(Error::new(meta.span(), format!("no such option; there are `{known}`")));
    }
    let value = match meta {
        Meta::Path(_) => Value::Flag,
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => Value::Int(number.clone()),
            Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => Value::Float(number.clone()),
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Value::Text(text.clone()),
            other => return Err(Error::new(other.span(), "a number or a text")),
        },
        Meta::List(list) if name == GROUPS => Value::Numbers(numbers(list)?),
        other @ Meta::List(_) => {
            return Err(Error::new(other.span(), format!("it is written `{name}` or `{name} = …`")));
        }
    };
    Ok((name, value, meta.span()))
}

/// Numbers with names, in brackets.
fn numbers(list: &MetaList) -> Result<Vec<(Ident, LitInt)>> {
    let pairs = list.parse_args_with(Punctuated::<MetaNameValue, Token![,]>::parse_terminated)?;
    let number = |pair: &MetaNameValue| match (pair.path.get_ident(), &pair.value) {
        (Some(name), Expr::Lit(ExprLit { lit: Lit::Int(number), .. })) => Ok((name.clone(), number.clone())),
        _ => Err(Error::new(pair.span(), "a name and a number, as in `io = 2`")),
    };
    pairs.iter().map(number).collect()
}

/// A time such as `500ms`, `30s`, `5m`, `1h`.
fn millis(text: &LitStr) -> Result<u64> {
    let value = text.value();
    let end = value.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(value.len());
    let factor = match &value[end..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number = value[..end].parse::<u64>().ok();
    let millis = number.zip(factor).and_then(|(number, factor)| number.checked_mul(factor));
    millis.ok_or_else(|| Error::new(text.span(), "a time is written like `500ms`, `30s`, `5m` or `1h`"))
}
