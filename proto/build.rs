//! Compiles the `.proto` files with `protox`, so that no `protoc` needs to be installed.

use std::error::Error;

#[cfg(feature = "rpc")]
const FILES: [&str; 8] = [
    "tandem/v1/types.proto",
    "tandem/v1/cluster.proto",
    "tandem/v1/shuffle.proto",
    "tandem/v1/job.proto",
    "tandem/v1/package.proto",
    "tandem/v1/peer.proto",
    "tandem/v1/state.proto",
    "tandem/v1/driver.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    #[cfg(feature = "rpc")]
    compile()?;
    Ok(())
}

#[cfg(feature = "rpc")]
fn compile() -> Result<(), Box<dyn Error>> {
    for file in FILES {
        println!("cargo::rerun-if-changed={file}");
    }
    let descriptors = protox::compile(FILES, ["."])?;
    tonic_prost_build::configure()
        .bytes(".tandem.v1.Chunk")
        .bytes(".tandem.v1.StageDefinition")
        .bytes(".tandem.v1.PeerFrame")
        .bytes(".tandem.v1.DriverBytes")
        .compile_fds(descriptors)?;
    Ok(())
}
