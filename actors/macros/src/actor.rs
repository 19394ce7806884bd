//! `#[tandem::actor]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, ImplItem, ImplItemFn, ItemImpl, Result, Type};

use crate::options::Options;
use crate::signature::Signature;

const OPTIONS: [&str; 8] =
    ["max_restarts", "retry_calls", "concurrency", "max_pending_calls", "cpus", "gpus", "light", "checkpoint_every"];

/// The parts of an actor's `impl` block.
struct Parts<'a> {
    ty: &'a Type,
    name: Ident,
    handle: Ident,
    new: Signature,
    restore: Option<Signature>,
    checkpoint: Option<Signature>,
    methods: Vec<Method<'a>>,
}

struct Method<'a> {
    name: &'a Ident,
    docs: Vec<&'a Attribute>,
    signature: Signature,
    changes: bool,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options, &OPTIONS)?;
    let block: ItemImpl = syn::parse2(item)?;
    let parts = Parts::of(&block)?;
    let every = options.number("checkpoint_every")?.unwrap_or(1).max(1) as u32;
    let calls = options.calls(&["checkpoint_every"])?;
    let (own, handle, actor) = (own_functions(&parts, &calls), handle(&parts), actor(&parts, every));
    Ok(quote! {
        #[allow(dead_code, reason = "who calls its methods may be elsewhere")]
        #block
        #own
        #handle
        const _: () = {
            #actor
        };
    })
}

impl<'a> Parts<'a> {
    fn of(block: &'a ItemImpl) -> Result<Self> {
        if let Some((path, _)) = &block.trait_ {
            return Err(Error::new(
                path.span(),
                "an actor's methods are in an `impl` block of its own, not of a trait",
            ));
        }
        if !block.generics.params.is_empty() {
            return Err(Error::new(
                block.generics.span(),
                "an actor is started by its name only, so it cannot be generic",
            ));
        }
        let ty = &*block.self_ty;
        let name = match ty {
            Type::Path(path) => path.path.segments.last().map(|segment| segment.ident.clone()),
            _ => None,
        };
        let name = name.ok_or_else(|| Error::new(ty.span(), "an actor is a type with a name"))?;
        let handle = format_ident!("{name}Handle");
        let (mut new, mut restore, mut checkpoint, mut methods) = (None, None, None, Vec::new());
        for item in &block.items {
            let ImplItem::Fn(function) = item else { continue };
            let signature = || Signature::of(&function.sig, None, Some(ty));
            match (function.sig.ident.to_string().as_str(), function.sig.receiver()) {
                ("new", None) => new = Some(signature()?),
                ("restore", None) => restore = Some(plain(function, signature()?, 1)?),
                ("checkpoint", Some(_)) => checkpoint = Some(plain(function, signature()?, 0)?),
                (_, None) => {}
                (_, Some(receiver)) => methods.push(Method::of(function, receiver, signature()?)?),
            }
        }
        let new = new.ok_or_else(|| Error::new(block.self_ty.span(), "an actor has a constructor, `fn new`"))?;
        if checkpoint.is_some() != restore.is_some() {
            let message = "`fn checkpoint(&self) -> T` and `fn restore(state: T) -> Self` go together";
            return Err(Error::new(block.self_ty.span(), message));
        }
        Ok(Self { ty, name, handle, new, restore, checkpoint, methods })
    }
}

impl<'a> Method<'a> {
    fn of(function: &'a ImplItemFn, receiver: &syn::Receiver, signature: Signature) -> Result<Self> {
        let syn::ReceiverKind::Reference(_, _, mutability) = &receiver.kind else {
            return Err(Error::new(receiver.span(), "a method has `&self` or `&mut self`"));
        };
        let docs = function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).collect();
        Ok(Self { name: &function.sig.ident, docs, signature, changes: mutability.is_some() })
    }
}

/// A function that is neither async nor has other parameters than it should.
fn plain(function: &ImplItemFn, signature: Signature, params: usize) -> Result<Signature> {
    let name = &function.sig.ident;
    if signature.is_async {
        return Err(Error::new(name.span(), format!("`{name}` is not async")));
    }
    if signature.params.len() != params {
        return Err(Error::new(name.span(), format!("`{name}` takes {params} values")));
    }
    Ok(signature)
}

/// What the type itself gets.
fn own_functions(parts: &Parts<'_>, calls: &TokenStream) -> TokenStream {
    let Parts { ty, name, handle, new, .. } = parts;
    let (names, types) = new.names_and_types();
    let (params, count) = (new.remote_params(), names.len());
    let spawn = quote!(::tandem::Spawn::new(ctx, #count) #(.arg::<#types>(#names))* #calls);
    let spawn_doc = format!("Starts a [`{name}`] with the arguments of its constructor, each a value or a ref to one.");
    let create_doc = format!("The [`{name}`] of that name, which is started with these arguments if there is none.");
    let find_doc =
        format!("The [`{name}`] of that name, if there is one.\n\n# Errors\nWhen it is an actor of another type.");
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
        }
    }
}

/// The handle's type.
fn handle(parts: &Parts<'_>) -> TokenStream {
    let Parts { name, handle, methods, .. } = parts;
    let doc = format!("Calls a [`{name}`] wherever it is. Can be cloned, and passed to tasks and actors.");
    let class = quote!(::core::concat!(::core::module_path!(), "::", ::core::stringify!(#name)));
    let methods = methods.iter().map(|method| {
        let Method { name, docs, signature, .. } = method;
        let (names, types) = signature.names_and_types();
        let (params, refs, returns) = (signature.remote_params(), signature.refs(), signature.returns());
        let (text, count) = (name.to_string(), names.len());
        quote! {
            #(#docs)*
            pub fn #name(&self, #params) -> #refs {
                self.0.call::<#returns>(#text, #count) #(.arg::<#types>(#names))* .send()
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

/// What its process knows of it.
fn actor(parts: &Parts<'_>, every: u32) -> TokenStream {
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
