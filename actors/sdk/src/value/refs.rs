//! Object refs inside of values. While a value is written, the refs in it are noted, since it keeps them alive; while one is
//! read, those in it become handles of this process.

use std::cell::RefCell;
use std::sync::Arc;

use tandem_actor_protocol::ObjectId;

use crate::objects::Handle;
use crate::process::Process;

thread_local! {
    /// What was noted of the value that is being written; none outside of one.
    static NAMED: RefCell<Option<Vec<Arc<Handle>>>> = const { RefCell::new(None) };
    /// Who reads the value that is being read; none outside of one.
    static READER: RefCell<Option<Arc<Process>>> = const { RefCell::new(None) };
}

/// Runs `write` and gives the refs that it wrote.
pub(crate) fn collect<T>(write: impl FnOnce() -> T) -> (T, Vec<Arc<Handle>>) {
    let before = NAMED.with(|named| named.borrow_mut().replace(Vec::new()));
    let written = write();
    let named = NAMED.with(|named| std::mem::replace(&mut *named.borrow_mut(), before));
    (written, named.unwrap_or_default())
}

/// Notes a ref; false outside of a value.
pub(crate) fn name(handle: &Arc<Handle>) -> bool {
    NAMED.with(|named| named.borrow_mut().as_mut().map(|named| named.push(Arc::clone(handle))).is_some())
}

/// Runs `read` for `process`.
pub(crate) fn adopting<T>(process: &Arc<Process>, read: impl FnOnce() -> T) -> T {
    let before = READER.with(|reader| reader.borrow_mut().replace(Arc::clone(process)));
    let value = read();
    READER.with(|reader| *reader.borrow_mut() = before);
    value
}

/// A handle of an object that was found; none outside of a value.
pub(crate) fn found(id: ObjectId) -> Option<Arc<Handle>> {
    let process = READER.with(|reader| reader.borrow().clone())?;
    Some(process.objects().adopt(&process, id))
}
