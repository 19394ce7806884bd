//! `#[tandem::main]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, FnArg, ItemFn, Lit, LitStr, MetaNameValue, Result, ReturnType, Type};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let requires = requires(options)?;
    let mut function: ItemFn = syn::parse2(item)?;
    if function.sig.asyncness.is_none() {
        return Err(Error::new(function.sig.fn_token.span(), "the main function is async"));
    }
    let arguments = function.sig.inputs.iter().map(argument).collect::<Result<Vec<_>>>()?;
    let (vis, name) = (function.vis.clone(), function.sig.ident.clone());
    function.vis = syn::Visibility::Inherited;
    let run = quote!(#name(#(#arguments),*).await);
    let ended = match &function.sig.output {
        ReturnType::Default => quote!({ let (): () = #run; ::core::result::Result::Ok(()) }),
        ReturnType::Type(_, ty) if matches!(&**ty, Type::Tuple(tuple) if tuple.elems.is_empty()) => {
            quote!({ let (): () = #run; ::core::result::Result::Ok(()) })
        }
        ReturnType::Type(..) => quote!(#run.map_err(::tandem::__private::returned)),
    };
    Ok(quote! {
        #vis fn #name() -> ::std::process::ExitCode {
            #function

            #[allow(unused_variables)]
            fn __driver(
                ctx: ::tandem::Context,
                args: ::tandem::Args,
            ) -> ::tandem::__private::LocalFuture<'static, ::core::result::Result<(), ::tandem::Failure>> {
                ::std::boxed::Box::pin(async move {
                    ::tandem::__private::require(&[#(#requires),*])?;
                    #ended
                })
            }
            ::tandem::__private::main(__driver)
        }
    })
}

/// The variables that the program cannot do without.
fn requires(options: TokenStream) -> Result<Vec<LitStr>> {
    if options.is_empty() {
        return Ok(Vec::new());
    }
    let wrong = |span| Error::new(span, "the one option is written `requires = [\"NAME\", …]`");
    let pair: MetaNameValue = syn::parse2(options.clone()).map_err(|_| wrong(options.span()))?;
    let Expr::Array(names) = &pair.value else { return Err(wrong(pair.span())) };
    if !pair.path.is_ident("requires") {
        return Err(wrong(pair.span()));
    }
    let name = |name: &Expr| match name {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Ok(text.clone()),
        other => Err(wrong(other.span())),
    };
    names.elems.iter().map(name).collect()
}

/// What is passed for a parameter.
fn argument(input: &FnArg) -> Result<TokenStream> {
    let wrong = || Error::new(input.span(), "the main function takes a `Context` and `Args`, both or one of them");
    let FnArg::Typed(typed) = input else { return Err(wrong()) };
    let (ty, by_reference) = match &*typed.ty {
        Type::Reference(reference) => (&*reference.elem, true),
        ty => (ty, false),
    };
    let Type::Path(path) = ty else { return Err(wrong()) };
    let name = path.path.segments.last().map(|segment| segment.ident.to_string());
    let argument = match name.as_deref() {
        Some("Context") => quote!(ctx),
        Some("Args") => quote!(args),
        _ => return Err(wrong()),
    };
    Ok(if by_reference { quote!(&#argument) } else { argument })
}
