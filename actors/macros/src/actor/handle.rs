//! What callers have: the type's own functions that start and find actors, and the handle.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Group, Method, Parts};

/// What the type itself gets.
pub(super) fn own_functions(parts: &Parts<'_>, calls: &TokenStream) -> TokenStream {
    let Parts { ty, name, handle, new, .. } = parts;
    let (names, types) = new.names_and_types();
    let (params, count) = (new.remote_params(), names.len());
    let spawn = quote!(::tandem::Spawn::new(ctx, #count) #(.arg::<#types>(#names))* #calls);
    let spawn_doc = format!("Starts a [`{name}`] with the arguments of its constructor, each a value or a ref to one.");
    let create_doc = format!("The [`{name}`] of that name, which is started with these arguments if there is none.");
    let find_doc =
        format!("The [`{name}`] of that name, if there is one.\n\n# Errors\nWhen it is an actor of another type.");
    let find_in_doc = format!(
        "The [`{name}`] of that name in a namespace, whichever job made it, if there is one.\n\n# Errors\nAs [`Self::find`]."
    );
    quote! {
        #[allow(dead_code, private_interfaces, unreachable_pub, clippy::too_many_arguments)]
        impl #ty {
            #[doc = #spawn_doc]
            pub fn spawn(ctx: &::tandem::Context, #params) -> ::tandem::Spawn<'_, #handle> {
                #spawn
            }

            #[doc = #create_doc]
            pub fn get_or_create<'__ctx>(
                ctx: &'__ctx ::tandem::Context,
                actor_name: &str,
                #params
            ) -> ::tandem::Spawn<'__ctx, #handle> {
                #spawn.or_find(actor_name)
            }

            #[doc = #find_doc]
            pub async fn find(
                ctx: &::tandem::Context,
                actor_name: &str,
            ) -> ::core::result::Result<::core::option::Option<#handle>, ::tandem::Failure> {
                ::tandem::__private::find(ctx, "", actor_name).await
            }

            #[doc = #find_in_doc]
            pub async fn find_in(
                ctx: &::tandem::Context,
                actor_namespace: &str,
                actor_name: &str,
            ) -> ::core::result::Result<::core::option::Option<#handle>, ::tandem::Failure> {
                ::tandem::__private::find(ctx, actor_namespace, actor_name).await
            }
        }
    }
}

/// The handle's type.
pub(super) fn handle(parts: &Parts<'_>) -> TokenStream {
    let Parts { name, handle, methods, .. } = parts;
    let doc = format!("Calls a [`{name}`] wherever it is. Can be cloned, and passed to tasks and actors.");
    let class = quote!(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)));
    let methods = methods.iter().map(|method| {
        let Method { name, docs, signature, group, calls, .. } = method;
        let (names, types) = signature.names_and_types();
        let (params, refs, returns) = (signature.remote_params(), signature.refs(), signature.returns());
        let (text, count) = (name.to_string(), names.len());
        let in_group = group.as_ref().map(|Group { name, concurrency, .. }| quote!(.in_group(#name, #concurrency)));
        quote! {
            #(#docs)*
            pub fn #name(&self, #params) -> #refs {
                self.0.call::<#returns>(#text, #count) #in_group #calls #(.arg::<#types>(#names))* .send()
            }
        }
    });
    quote! {
        #[doc = #doc]
        #[derive(Clone, Debug)]
        #[allow(dead_code, unreachable_pub)]
        pub struct #handle(::tandem::__private::ActorRef);

        #[allow(dead_code, private_interfaces, unreachable_pub, clippy::too_many_arguments, missing_docs)]
        impl #handle {
            #(#methods)*
        }

        impl ::tandem::ActorHandle for #handle {
            const CLASS: &'static str = #class;

            fn of(actor: ::tandem::__private::ActorRef) -> Self {
                Self(actor)
            }

            fn actor(&self) -> &::tandem::__private::ActorRef {
                &self.0
            }
        }

        impl ::tandem::__private::serde::Serialize for #handle {
            fn serialize<S: ::tandem::__private::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                ::tandem::__private::serde::Serialize::serialize(&self.0, serializer)
            }
        }

        impl<'de> ::tandem::__private::serde::Deserialize<'de> for #handle {
            fn deserialize<D: ::tandem::__private::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> ::core::result::Result<Self, D::Error> {
                ::tandem::__private::serde::Deserialize::deserialize(deserializer).map(Self)
            }
        }
    }
}
