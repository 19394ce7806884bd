//! What the actor's process has: how to make one, and its methods by their names.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Type;

use super::{Method, Parts};
use crate::signature::Signature;

/// What its process knows of it.
pub(super) fn class(parts: &Parts<'_>, every: u32) -> TokenStream {
    let Parts { ty, handle, new, restore, checkpoint, methods, .. } = parts;
    let create = create(ty, new);
    let restore = match restore {
        None => quote!(::core::option::Option::None),
        Some(restore) => {
            let (read, call) = (restore.read_inputs(), restore.try_call(&quote!(<#ty>::restore)));
            quote!(::core::option::Option::Some({
                fn restore(
                    mut __inputs: ::tandem::__private::Inputs,
                ) -> ::core::result::Result<#ty, ::tandem::Failure> {
                    #read
                    #call
                }
                restore
            }))
        }
    };
    let checkpoint = match checkpoint {
        None => quote!(::core::option::Option::None),
        Some(checkpoint) => {
            let call = checkpoint.call_and_end(&quote!(__actor.checkpoint));
            quote!(::core::option::Option::Some({
                fn checkpoint(__actor: &#ty, __ctx: &::tandem::Context) -> ::tandem::__private::CallOutcome {
                    #call
                }
                checkpoint
            }))
        }
    };
    let groups = groups(parts);
    let methods = methods.iter().map(|method| arm(ty, method));
    quote! {
        impl ::tandem::__private::Actor for #ty {
            const CLASS: &'static str = <#handle as ::tandem::ActorHandle>::CLASS;
            const CREATE: ::tandem::__private::Create<Self> = #create;
            const RESTORE: ::core::option::Option<
                fn(::tandem::__private::Inputs) -> ::core::result::Result<Self, ::tandem::Failure>,
            > = #restore;
            const CHECKPOINT: ::core::option::Option<
                fn(&Self, &::tandem::Context) -> ::tandem::__private::CallOutcome,
            > = #checkpoint;
            const CHECKPOINT_EVERY: u32 = #every;
            #groups

            fn method(name: &str) -> ::core::option::Option<::tandem::__private::Method<Self>> {
                ::core::option::Option::Some(match name {
                    #(#methods)*
                    _ => return ::core::option::Option::None,
                })
            }
        }
        ::tandem::__private::inventory::submit! { ::tandem::__private::Class::of::<#ty>() }
    }
}

/// Its concurrency groups, if it has any, and which methods are in which.
fn groups(parts: &Parts<'_>) -> TokenStream {
    let of_method = |method: &Method<'_>| {
        let (name, index) = (method.name.to_string(), method.group.as_ref()?.index);
        Some(quote!(#name => ::core::option::Option::Some(#index),))
    };
    let (concurrency, methods) = (parts.groups.concurrency(), parts.methods.iter().filter_map(of_method));
    let mut methods = methods.peekable();
    if methods.peek().is_none() {
        return TokenStream::new();
    }
    quote! {
        const GROUPS: &'static [u32] = &[#(#concurrency),*];

        fn group(method: &str) -> ::core::option::Option<usize> {
            match method {
                #(#methods)*
                _ => ::core::option::Option::None,
            }
        }
    }
}

fn create(ty: &Type, new: &Signature) -> TokenStream {
    let (read, call) = (new.read_inputs(), new.try_call(&quote!(<#ty>::new)));
    let result = quote!(::core::result::Result<#ty, ::tandem::Failure>);
    let (kind, outcome, body) = if new.is_async {
        let body = quote!(::std::boxed::Box::pin(async move { #read #call }));
        (quote!(Async), quote!(::tandem::__private::LocalFuture<'static, #result>), body)
    } else {
        (quote!(Plain), result, quote!(#read #call))
    };
    quote!(::tandem::__private::Create::#kind({
        #[allow(unused_mut, unused_variables)]
        fn create(mut __inputs: ::tandem::__private::Inputs, __ctx: ::tandem::Context) -> #outcome {
            #body
        }
        create
    }))
}

/// One method by its name.
fn arm(ty: &Type, method: &Method<'_>) -> TokenStream {
    let Method { name, signature, changes, .. } = method;
    let (read, call) = (signature.read_inputs(), signature.call_and_end(&quote!(__actor.#name)));
    let mutability = changes.then(|| quote!(mut));
    let kind = match (signature.is_async, changes) {
        (false, false) => quote!(Plain),
        (false, true) => quote!(PlainMut),
        (true, false) => quote!(Async),
        (true, true) => quote!(AsyncMut),
    };
    let outcome = quote!(::tandem::__private::CallOutcome);
    let (outcome, body) = if signature.is_async {
        let body = quote!(::std::boxed::Box::pin(async move { #read #call }));
        (quote!(::tandem::__private::LocalFuture<'_, #outcome>), body)
    } else {
        (outcome, quote!(#read #call))
    };
    let text = name.to_string();
    quote! {
        #text => ::tandem::__private::Method::#kind({
            fn call(
                __actor: &#mutability #ty,
                mut __inputs: ::tandem::__private::Inputs,
                __ctx: ::tandem::Context,
            ) -> #outcome {
                #body
            }
            call
        }),
    }
}
