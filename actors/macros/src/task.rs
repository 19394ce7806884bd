//! `#[tandem::task]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{ItemFn, Result};

use crate::options::Options;
use crate::signature::Signature;

const OPTIONS: [&str; 9] = ["retries", "returns", "timeout", "cpus", "gpus", "name", "spread", "stream", "window"];

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options, &OPTIONS)?;
    let function: ItemFn = syn::parse2(item)?;
    let signature = if options.flag("stream")? {
        Signature::of_stream(&function.sig, None)?
    } else {
        Signature::of(&function.sig, options.number("returns")?, None)?
    };
    let calls = options.calls(&["returns", "stream"])?;

    let (vis, name) = (&function.vis, &function.sig.ident);
    let (names, types) = signature.names_and_types();
    let (returns, refs, remote_params) = (signature.returns(), signature.refs(), signature.remote_params());
    let ctx = if names.iter().any(|name| *name == "ctx") { format_ident!("context") } else { format_ident!("ctx") };
    let body = run(&signature, &quote!(#name));
    let type_doc = format!("Submits calls of the task [`{name}`](fn@{name}).");
    let submit_doc = format!("Submits a call of [`{name}`](fn@{name}). Each argument is a value or a ref to one.");
    Ok(quote! {
        #function

        #[doc = #type_doc]
        #[allow(non_camel_case_types, dead_code, unreachable_pub)]
        #vis struct #name {}

        #[allow(dead_code, private_interfaces, unreachable_pub, clippy::too_many_arguments)]
        impl #name {
            /// The name under which it is known.
            #vis const NAME: &'static str = ::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name));

            #[doc = #submit_doc]
            #vis fn submit(#ctx: &::tandem::Context, #remote_params) -> #refs {
                Self::with(#ctx).submit(#(#names),*)
            }

            /// A call with options of its own.
            #vis fn with(#ctx: &::tandem::Context) -> ::tandem::TaskCall<'_, (#(#types,)*), #returns> {
                ::tandem::TaskCall::new(#ctx, Self::NAME) #calls
            }
        }

        const _: () = {
            #body
        };
    })
}

/// How a process runs it.
fn run(signature: &Signature, function: &TokenStream) -> TokenStream {
    let (read, call) = (signature.read_inputs(), signature.call_and_end(function));
    let (outcome, kind, body) = if signature.is_async {
        let outcome = quote!(::tandem::__private::LocalFuture<'static, ::tandem::__private::CallOutcome>);
        (outcome, quote!(Async), quote!(::std::boxed::Box::pin(async move { #read #call })))
    } else {
        (quote!(::tandem::__private::CallOutcome), quote!(Plain), quote!(#read #call))
    };
    quote! {
        fn __run(mut __inputs: ::tandem::__private::Inputs, __ctx: ::tandem::Context) -> #outcome {
            #body
        }
        ::tandem::__private::inventory::submit! {
            ::tandem::__private::Function {
                name: <#function>::NAME,
                code: ::tandem::__private::Code::#kind(__run),
            }
        }
    }
}
