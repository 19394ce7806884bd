//! What most programs need: `use tandem::prelude::*`.

pub use serde::{Deserialize, Serialize};

pub use crate::{
    ActorHandle, ActorPool, Args, Batches, Bytes, Context, Failure, FailureKind, ObjectRef, ObjectStream,
    PlacementGroup, Resources, Result, Retry, Strategy, Table, Waited, Yield, cpus, gpus,
};
