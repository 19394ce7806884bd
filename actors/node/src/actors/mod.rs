//! Actors: those that processes of this worker made, those that live here, and the calls that processes of this worker make.

mod calls;
mod checkpoint;
mod end;
mod held;
mod host;
mod hosted;
mod hosted_calls;
mod lane;
mod light;
mod lost;
mod names;
mod owned;
mod place;
mod route;
mod spawn;
mod started;
mod streams;

pub(crate) use calls::{Call, CallState};
pub(crate) use checkpoint::{Checkpoints, Coming};
pub(crate) use end::ENDED;
pub(crate) use host::EarlyStart;
pub(crate) use hosted::{HostedActor, HostedState};
pub(crate) use hosted_calls::{HostedCall, SentCall};
pub(crate) use lane::Lane;
pub(crate) use light::LightProcess;
pub(crate) use owned::{OwnedActor, OwnedState};
pub(crate) use route::{Place, Route};
pub(crate) use started::started;
