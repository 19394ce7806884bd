//! Where the large values of this process are.

use std::sync::Arc;

use crate::apart::Apart;
use crate::space::Space;

/// See the module's header.
pub(crate) enum Memory {
    /// Where all processes of the worker read them.
    Shared(Arc<Space>),
    #[cfg_attr(not(feature = "client"), expect(dead_code, reason = "only clients are apart"))]
    /// At the worker, with which this process shares nothing.
    Apart(Apart),
}
