//! Leases, as the coordinator and nodes each name them. Over the wire, `wire/leases.rs` of the coordinator and `state/leases.rs` of the
//! worker do the same.

use tandem_actor_protocol::resources::Shape;
use tandem_node::LeaseGrant;
use tandem_scheduler::Resources;

pub(crate) fn to_coordinator(shape: Shape) -> tandem_scheduler::Shape {
    let Shape { milli, memory_bytes, labels, spread, here } = shape;
    tandem_scheduler::Shape { resources: Resources { milli, memory_bytes }, labels, spread, here }
}

fn to_node(shape: tandem_scheduler::Shape) -> Shape {
    let tandem_scheduler::Shape { resources: Resources { milli, memory_bytes }, labels, spread, here } = shape;
    Shape { milli, memory_bytes, labels, spread, here }
}

pub(crate) fn grant(grant: tandem_scheduler::LeaseGrant, owner_address: String, host_address: String) -> LeaseGrant {
    let tandem_scheduler::LeaseGrant { lease, job, owner, host, shape, bundle } = grant;
    assert_eq!(bundle, None, "no program here makes placement groups");
    LeaseGrant { lease: lease.0, job, owner, owner_address, host, host_address, shape: to_node(shape), bundle: None }
}
