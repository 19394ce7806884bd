//! `#[tandem::main]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::spanned::Spanned;
use syn::{Error, FnArg, ItemFn, Result, ReturnType, Type};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    if !options.is_empty() {
        return Err(Error::new(options.span(), "it has no options"));
    }
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
                ::std::boxed::Box::pin(async move { #ended })
            }
            ::tandem::__private::main(__driver)
        }
    })
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
