//! What a call gives at once.

use std::marker::PhantomData;
use std::sync::Arc;

use crate::object_ref::ObjectRef;
use crate::objects::Handle;

/// How many objects a call returns, and of which types.
pub trait Returns {
    /// Refs to all of them.
    type Refs;
    /// How many there are.
    const COUNT: u32;

    /// Whether it yields items before.
    #[doc(hidden)]
    const STREAMS: bool = false;

    #[doc(hidden)]
    fn refs(handles: Handles) -> Self::Refs;

    /// As `refs`, of a call that may yield so many items ahead.
    #[doc(hidden)]
    fn refs_within(handles: Handles, _window: u32) -> Self::Refs {
        Self::refs(handles)
    }
}

/// Handles of the objects of a call, in order.
#[doc(hidden)]
pub struct Handles(pub(crate) Vec<Arc<Handle>>);

impl Handles {
    /// One for each of `count` objects.
    fn next<T>(&mut self) -> ObjectRef<T> {
        // Made from `COUNT`, so there are enough.
        ObjectRef::new(self.0.remove(0))
    }
}

/// One object.
pub struct One<T>(PhantomData<T>);

/// An object for each member of a tuple.
pub struct Many<T>(PhantomData<T>);

impl<T> Returns for One<T> {
    type Refs = ObjectRef<T>;
    const COUNT: u32 = 1;

    fn refs(mut handles: Handles) -> ObjectRef<T> {
        handles.next()
    }
}

macro_rules! many {
    ($count:literal: $($type:ident)+) => {
        impl<$($type),+> Returns for Many<($($type,)+)> {
            type Refs = ($(ObjectRef<$type>,)+);
            const COUNT: u32 = $count;

            fn refs(mut handles: Handles) -> Self::Refs {
                ($(handles.next::<$type>(),)+)
            }
        }
    };
}

many!(2: A B);
many!(3: A B C);
many!(4: A B C D);
many!(5: A B C D E);
many!(6: A B C D E F);
many!(7: A B C D E F G);
many!(8: A B C D E F G H);
