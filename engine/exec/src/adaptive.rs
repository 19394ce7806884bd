//! What a query may adapt to, before and while it runs: settings `tandem.…`, beside DataFusion's own.

use datafusion::common::config::ConfigExtension;
use datafusion::common::extensions_options;
use datafusion::prelude::SessionConfig;

extensions_options! {
    /// Which sizes and times, estimated or measured, may change how a query is run. All do, unless they are turned off.
    pub struct AdaptiveOptions {
        /// A join that is expected to drop most rows of a table is made before the joins with larger ones
        pub early_joins: bool, default = true
        /// A join whose build side turns out small takes over the stage that makes its probe side
        pub fuse_joins: bool, default = true
        /// Partitions that turn out small share a task, and one that turns out large is split
        pub divide_by_size: bool, default = true
        /// Of these two, the latter
        pub split_skew: bool, default = true
        /// Rows of the larger side of a join whose key the other side does not have are dropped before they are exchanged
        pub prefilter_joins: bool, default = true
        /// … when there are expected to be at least so many
        pub prefilter_min_rows: usize, default = 1_000_000
        /// A task that takes far longer than the others of its stage gets a second attempt elsewhere
        pub race_stragglers: bool, default = true
    }
}

impl ConfigExtension for AdaptiveOptions {
    const PREFIX: &'static str = "tandem";
}

impl AdaptiveOptions {
    /// Those of a session; the defaults for one that knows of none.
    pub fn of(config: &SessionConfig) -> Self {
        config.options().extensions.get::<Self>().cloned().unwrap_or_default()
    }
}
