//! What most programs need: `use tandem::prelude::*`.

pub use serde::{Deserialize, Serialize};

pub use crate::{
    ActorHandle, ActorPool, Args, Batches, Bytes, Context, Failure, FailureKind, ObjectRef, PlacementGroup, Resources,
    Result, Retry, Strategy, Table, Waited, cpus, gpus,
};
