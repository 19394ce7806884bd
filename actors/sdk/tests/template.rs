//! What `tandem new` writes compiles, and its own tests pass.

extern crate tandem_sdk as tandem;

#[path = "../../../engine/src/cli/new/template/main.rs"]
#[allow(dead_code, reason = "its main function is that of another program")]
mod template;
