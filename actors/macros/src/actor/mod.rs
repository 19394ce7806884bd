//! `#[tandem::actor]`.

mod class;
mod handle;

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
    let (own, handle, actor) =
        (handle::own_functions(&parts, &calls), handle::handle(&parts), class::class(&parts, every));
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
