//! What a user's function takes and gives, as far as it matters to who calls it from elsewhere.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::spanned::Spanned;
use syn::visit_mut::{VisitMut, visit_type_mut};
use syn::{Error, FnArg, GenericArgument, Ident, Pat, PathArguments, PathSegment, Result, ReturnType, Type};

/// A function without its receiver.
pub(crate) struct Signature {
    pub(crate) is_async: bool,
    /// How the context is passed, if it is.
    context: Option<Passed>,
    pub(crate) params: Vec<(Ident, Type)>,
    /// Types of its values; one, or those of a tuple.
    pub(crate) values: Vec<Type>,
    is_fallible: bool,
    shape: Shape,
}

/// How many objects a call gives.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    One,
    Tuple,
    /// As many as it yields, of the one type in `values`.
    Stream,
}

enum Passed {
    ByValue,
    ByReference,
}

impl Signature {
    /// Of a function that returns `returns` values; `own` is what `Self` means there.
    pub(crate) fn of(sig: &syn::Signature, returns: Option<usize>, own: Option<&Type>) -> Result<Self> {
        if !sig.generics.params.is_empty() {
            return Err(Error::new(sig.generics.span(), "it is called by its name only, so it cannot be generic"));
        }
        let mut params = Vec::new();
        let mut context = None;
        for input in &sig.inputs {
            let FnArg::Typed(typed) = input else { continue };
            let ty = without_self(&typed.ty, own);
            if params.is_empty() && context.is_none() && is_named(&ty, "Context") {
                context = Some(if matches!(ty, Type::Reference(_)) { Passed::ByReference } else { Passed::ByValue });
                continue;
            }
            check_by_value(&ty)?;
            let name = match &*typed.pat {
                Pat::Ident(pat) => pat.ident.clone(),
                _ => format_ident!("argument_{}", params.len() + 1),
            };
            params.push((name, ty));
        }
        let output = match &sig.output {
            ReturnType::Default => syn::parse_quote!(()),
            ReturnType::Type(_, ty) => without_self(ty, own),
        };
        let is_fallible = is_named(&output, "Result") && !matches!(output, Type::Reference(_));
        let value = if is_fallible { first_argument(&output)? } else { output };
        let values = match returns {
            None => vec![value],
            Some(count) => members(&value, count)?,
        };
        Ok(Self {
            is_async: sig.asyncness.is_some(),
            context,
            params,
            values,
            is_fallible,
            shape: if returns.is_some() { Shape::Tuple } else { Shape::One },
        })
    }

    /// Of one that yields items: its last parameter is what it yields them with.
    pub(crate) fn of_stream(sig: &syn::Signature, own: Option<&Type>) -> Result<Self> {
        let own = Self::of(sig, None, own)?;
        if !own.is_unit() {
            let message = "it yields its items and returns nothing beside them: `()` or `Result<()>`";
            return Err(Error::new(sig.output.span(), message));
        }
        let mut params = own.params;
        let item = match params.pop() {
            Some((_, ty)) if is_named(&ty, "Yield") => first_argument(&ty)?,
            _ => return Err(Error::new(sig.inputs.span(), "with `stream` its last parameter is a `Yield<…>`")),
        };
        Ok(Self { params, values: vec![item], shape: Shape::Stream, ..own })
    }

    /// The type that says what is returned, such as `One<f64>`.
    pub(crate) fn returns(&self) -> TokenStream {
        let values = &self.values;
        match self.shape {
            Shape::One => quote!(::tandem::__private::One<#(#values)*>),
            Shape::Tuple => quote!(::tandem::__private::Many<(#(#values,)*)>),
            Shape::Stream => quote!(::tandem::__private::Streamed<#(#values)*>),
        }
    }

    /// What a caller gets at once.
    pub(crate) fn refs(&self) -> TokenStream {
        let values = &self.values;
        match self.shape {
            Shape::One => quote!(::tandem::ObjectRef<#(#values)*>),
            Shape::Tuple => quote!((#(::tandem::ObjectRef<#values>,)*)),
            Shape::Stream => quote!(::tandem::ObjectStream<#(#values)*>),
        }
    }

    /// Parameters of who calls it from elsewhere.
    pub(crate) fn remote_params(&self) -> TokenStream {
        let (names, types) = self.names_and_types();
        quote!(#(#names: impl ::tandem::IntoArg<#types>),*)
    }

    pub(crate) fn names_and_types(&self) -> (Vec<&Ident>, Vec<&Type>) {
        self.params.iter().map(|(name, ty)| (name, ty)).unzip()
    }

    /// Reads the arguments from `inputs`.
    pub(crate) fn read_inputs(&self) -> TokenStream {
        let (names, types) = self.names_and_types();
        let texts = names.iter().map(ToString::to_string);
        quote! {
            #(let #names: #types = __inputs.next::<#types>(#texts)?;)*
            __inputs.end()?;
        }
    }

    /// Calls `function` with what was read, and gives its value; returns with a failure if there is none.
    fn call(&self, function: &TokenStream) -> TokenStream {
        let (call, fail) =
            (self.plain_call(function), self.is_fallible.then(|| quote!(.map_err(::tandem::__private::returned)?)));
        quote!(#call #fail)
    }

    /// Calls `function` with what was read, and gives its value or failure.
    pub(crate) fn try_call(&self, function: &TokenStream) -> TokenStream {
        let call = self.plain_call(function);
        if self.is_fallible {
            quote!(#call.map_err(::tandem::__private::returned))
        } else {
            quote!(::core::result::Result::Ok(#call))
        }
    }

    fn plain_call(&self, function: &TokenStream) -> TokenStream {
        let (names, _) = self.names_and_types();
        let context = match &self.context {
            None => quote!(),
            Some(Passed::ByValue) => quote!(::core::clone::Clone::clone(&__ctx),),
            Some(Passed::ByReference) => quote!(&__ctx,),
        };
        let wait = self.is_async.then(|| quote!(.await));
        let yields = (self.shape == Shape::Stream).then(|| quote!(__to.again()));
        quote!(#function(#context #(#names,)* #yields) #wait)
    }

    /// Calls `function` and ends the call with its values.
    pub(crate) fn call_and_end(&self, function: &TokenStream) -> TokenStream {
        let call = self.call(function);
        if self.shape == Shape::Stream {
            let item = &self.values[0];
            return quote! {
                let __to = ::tandem::Yield::<#item>::of(&__ctx)?;
                let () = #call;
                __to.end(&__ctx)
            };
        }
        let value = if self.is_unit() { quote!(let __value: () = #call;) } else { quote!(let __value = #call;) };
        let outputs = if self.shape == Shape::Tuple {
            let members = (0..self.values.len()).map(syn::Index::from);
            quote! {
                let __outputs = ::tandem::__private::Outputs::default();
                #(let __outputs = __outputs.and(&__ctx, &__value.#members)?;)*
                ::core::result::Result::Ok(__outputs)
            }
        } else {
            quote!(::tandem::__private::Outputs::one(&__ctx, &__value))
        };
        quote!(#value #outputs)
    }

    fn is_unit(&self) -> bool {
        self.shape == Shape::One && matches!(&self.values[..], [Type::Tuple(tuple)] if tuple.elems.is_empty())
    }
}

/// The last name of a type's path, behind any reference.
fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        Type::Reference(reference) => last_segment(&reference.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        Type::Group(group) => last_segment(&group.elem),
        _ => None,
    }
}

fn is_named(ty: &Type, name: &str) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == name)
}

fn first_argument(ty: &Type) -> Result<Type> {
    let arguments = last_segment(ty).map(|segment| &segment.arguments);
    let Some(PathArguments::AngleBracketed(arguments)) = arguments else {
        return Err(Error::new(ty.span(), "say what it gives when all is well, as in `Result<()>`"));
    };
    let first = arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty.clone()),
        _ => None,
    });
    first.ok_or_else(|| Error::new(ty.span(), "say what it gives when all is well, as in `Result<()>`"))
}

fn members(ty: &Type, count: usize) -> Result<Vec<Type>> {
    match ty {
        Type::Tuple(tuple) if tuple.elems.len() == count => Ok(tuple.elems.iter().cloned().collect()),
        _ => Err(Error::new(ty.span(), format!("with `returns = {count}` this is a tuple of {count}"))),
    }
}

fn check_by_value(ty: &Type) -> Result<()> {
    match ty {
        Type::Reference(_) => {
            Err(Error::new(ty.span(), "arguments come from another process, so they are passed by value"))
        }
        Type::ImplTrait(_) => Err(Error::new(ty.span(), "arguments come from another process, so name their type")),
        _ => Ok(()),
    }
}

/// The type with another name for `Self`.
fn without_self(ty: &Type, own: Option<&Type>) -> Type {
    struct Replace<'a>(&'a Type);
    impl VisitMut for Replace<'_> {
        fn visit_type_mut(&mut self, ty: &mut Type) {
            if matches!(ty, Type::Path(path) if path.path.is_ident("Self")) {
                *ty = self.0.clone();
            }
            visit_type_mut(self, ty);
        }
    }
    let mut ty = ty.clone();
    if let Some(own) = own {
        Replace(own).visit_type_mut(&mut ty);
    }
    ty
}
