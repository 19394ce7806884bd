//! `#[tandem::actor]`.

mod class;
mod groups;
mod handle;

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::{Attribute, Error, Ident, ImplItem, ImplItemFn, ItemImpl, Meta, Path, Result, Type};

use self::groups::{Group, Groups};
use crate::options::{GROUPS, Options};
use crate::signature::Signature;

const OPTIONS: [&str; 9] = [
    "max_restarts",
    "retry_calls",
    "concurrency",
    GROUPS,
    "max_pending_calls",
    "cpus",
    "gpus",
    "light",
    "checkpoint_every",
];
const METHOD_OPTIONS: [&str; 3] = ["stream", "window", "group"];

/// The parts of an actor's `impl` block.
struct Parts<'a> {
    ty: &'a Type,
    name: Ident,
    handle: Ident,
    new: Signature,
    restore: Option<Signature>,
    checkpoint: Option<Signature>,
    groups: Groups,
    methods: Vec<Method<'a>>,
}

struct Method<'a> {
    name: &'a Ident,
    docs: Vec<&'a Attribute>,
    signature: Signature,
    changes: bool,
    /// The concurrency group that it is in.
    group: Option<Group>,
    /// What is said of all its calls.
    calls: TokenStream,
}

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let options = Options::parse(options, &OPTIONS)?;
    let block: ItemImpl = syn::parse2(item)?;
    let parts = Parts::of(&block, Groups::of(&options)?)?;
    let every = options.number("checkpoint_every")?.unwrap_or(1).max(1) as u32;
    let calls = options.calls(&["checkpoint_every", GROUPS])?;
    let (own, handle, actor) =
        (handle::own_functions(&parts, &calls), handle::handle(&parts), class::class(&parts, every));
    let own_block = without_method_attributes(&block);
    Ok(quote! {
        #[allow(dead_code, reason = "who calls its methods may be elsewhere")]
        #own_block
        #own
        #handle
        const _: () = {
            #actor
        };
    })
}

impl<'a> Parts<'a> {
    fn of(block: &'a ItemImpl, groups: Groups) -> Result<Self> {
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
                (_, Some(receiver)) => methods.push(Method::of(function, receiver, ty, &groups)?),
            }
        }
        let new = new.ok_or_else(|| Error::new(block.self_ty.span(), "an actor has a constructor, `fn new`"))?;
        if checkpoint.is_some() != restore.is_some() {
            let message = "`fn checkpoint(&self) -> T` and `fn restore(state: T) -> Self` go together";
            return Err(Error::new(block.self_ty.span(), message));
        }
        Ok(Self { ty, name, handle, new, restore, checkpoint, groups, methods })
    }
}

impl<'a> Method<'a> {
    fn of(function: &'a ImplItemFn, receiver: &syn::Receiver, own: &Type, groups: &Groups) -> Result<Self> {
        let syn::ReceiverKind::Reference(_, _, mutability) = &receiver.kind else {
            return Err(Error::new(receiver.span(), "a method has `&self` or `&mut self`"));
        };
        let options = method_options(function)?;
        let signature = if options.flag("stream")? {
            Signature::of_stream(&function.sig, Some(own))?
        } else if let Some(place) = options.place("window") {
            return Err(Error::new(place, "only what has the option `stream` has a window"));
        } else {
            Signature::of(&function.sig, None, Some(own))?
        };
        Ok(Self {
            name: &function.sig.ident,
            docs: function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc")).collect(),
            signature,
            changes: mutability.is_some(),
            group: options.text("group")?.map(|name| groups.find(name)).transpose()?,
            calls: options.calls(&["stream", "group"])?,
        })
    }
}

/// What `#[tandem::method(…)]` says of a method.
fn method_options(function: &ImplItemFn) -> Result<Options> {
    let mut said = function.attrs.iter().filter(|attribute| is_for_method(attribute.path()));
    let tokens = match said.next().map(|attribute| &attribute.meta) {
        None => TokenStream::new(),
        Some(Meta::List(list)) => list.tokens.clone(),
        Some(other) => {
            return Err(Error::new(other.span(), "it is written `#[tandem::method(stream, group = \"io\")]`"));
        }
    };
    if let Some(more) = said.next() {
        return Err(Error::new(more.span(), "all options of a method are in one attribute"));
    }
    Options::parse(tokens, &METHOD_OPTIONS)
}

fn is_for_method(path: &Path) -> bool {
    let names: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
    matches!(&names[..], [.., last] if last == "method") && (names.len() == 1 || names[0] == "tandem")
}

/// The block as it is compiled: what is said of its methods is said by the handle.
fn without_method_attributes(block: &ItemImpl) -> ItemImpl {
    let mut block = block.clone();
    for item in &mut block.items {
        // Before anything that is no method it stays, and says that it is in the wrong place.
        if let ImplItem::Fn(function) = item
            && function.sig.receiver().is_some()
            && function.sig.ident != "checkpoint"
        {
            function.attrs.retain(|attribute| !is_for_method(attribute.path()));
        }
    }
    block
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the macro says of an actor with these options, whose one method is this.
    fn refused(options: &str, method: &str) -> String {
        let read = |text: &str| text.parse::<TokenStream>().expect("tokens");
        let block = read(&format!("impl Store {{ fn new() -> Self {{ Self }} {method} }}"));
        expand(read(options), block).expect_err("it is wrong").to_string()
    }

    #[test]
    fn what_is_wrong_with_a_method_is_said() {
        let cases = [
            (
                r#"#[tandem::method(group = "disk")] fn read(&self) {}"#,
                "there is no concurrency group `disk`; there are `io`, `compute`",
            ),
            ("#[tandem::method(group = 1)] fn read(&self) {}", "`group` is a text, as in `group = \"io\"`"),
            ("#[tandem::method(window = 2)] fn read(&self) {}", "only what has the option `stream` has a window"),
            (
                "#[tandem::method(stream)] async fn read(&self, from: u64) {}",
                "with `stream` its last parameter is a `Yield<…>`",
            ),
            (
                "#[tandem::method(stream)] async fn read(&self, to: Yield<u64>) -> u64 { 1 }",
                "it yields its items and returns nothing beside them: `()` or `Result<()>`",
            ),
            (
                "#[tandem::method(retries = 2)] fn read(&self) {}",
                "no such option; there are `stream`, `window`, `group`",
            ),
            ("#[tandem::method] fn read(&self) {}", "it is written `#[tandem::method(stream, group = \"io\")]`"),
            (
                "#[method(stream)] #[method(window = 2)] fn read(&self) {}",
                "all options of a method are in one attribute",
            ),
        ];
        for (method, expected) in cases {
            assert_eq!(refused("concurrency_groups(io = 2, compute = 4)", method), expected);
        }
        assert_eq!(
            refused("", r#"#[tandem::method(group = "io")] fn read(&self) {}"#),
            "there is no concurrency group `io`; an actor has those that it is given by `concurrency_groups(io = 2)`"
        );
    }

    #[test]
    fn what_is_wrong_with_groups_is_said() {
        let of = |options| refused(options, "");
        assert_eq!(of("concurrency_groups(io = 0)"), "a concurrency group works on one call at least");
        assert_eq!(of("concurrency_groups(io = 1, io = 2)"), "there are two concurrency groups `io`");
        assert_eq!(of(r#"concurrency_groups(io = "2")"#), "a name and a number, as in `io = 2`");
        assert_eq!(of("concurrency_groups = 2"), "it is written `concurrency_groups(io = 2, compute = 4)`");
    }

    #[test]
    fn the_attribute_is_taken_off_methods_and_off_nothing_else() {
        let block = quote! {
            impl Store {
                #[tandem::method(stream)]
                fn new() -> Self { Self }
                #[doc = "Reads."]
                #[tandem::method(stream)]
                async fn read(&self, to: Yield<u64>) {}
            }
        };
        let left = without_method_attributes(&syn::parse2(block).expect("a block"));
        let expected = quote! {
            impl Store {
                #[tandem::method(stream)]
                fn new() -> Self { Self }
                #[doc = "Reads."]
                async fn read(&self, to: Yield<u64>) {}
            }
        };
        assert_eq!(quote!(#left).to_string(), expected.to_string());
    }
}
