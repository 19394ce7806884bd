//! Leases and what they are of, in both directions.

use tandem_proto::{JobId, LeaseId, WorkerId, v1};
use tandem_scheduler::{LeaseDemand, LeaseGrant, LeaseReport, Resources, Shape};

use super::groups;
use super::reports::Malformed;

/// What a worker has or a lease takes. Names without an amount are left out.
pub(super) fn resources(message: v1::Resources) -> Resources {
    let v1::Resources { milli, memory_bytes } = message;
    Resources { milli: milli.into_iter().filter(|(_, amount)| *amount > 0).collect(), memory_bytes }
}

pub(super) fn wire_resources(resources: &Resources) -> v1::Resources {
    let Resources { milli, memory_bytes } = resources.clone();
    v1::Resources { milli: milli.into_iter().collect(), memory_bytes }
}

pub(super) fn shape(message: Option<v1::Shape>) -> Result<Shape, Malformed> {
    let v1::Shape { resources: amounts, labels, spread, here } = message.ok_or(Malformed("a lease of no shape"))?;
    Ok(Shape { resources: resources(amounts.unwrap_or_default()), labels: labels.into_iter().collect(), spread, here })
}

pub(super) fn wire_shape(shape: &Shape) -> v1::Shape {
    let Shape { resources, labels, spread, here } = shape;
    v1::Shape {
        resources: Some(wire_resources(resources)),
        labels: labels.clone().into_iter().collect(),
        spread: *spread,
        here: *here,
    }
}

pub(super) fn demand(message: v1::LeaseDemand) -> Result<LeaseDemand, Malformed> {
    let v1::LeaseDemand { job, shape: of, wanted, bundle } = message;
    Ok(LeaseDemand { job: JobId(job), shape: shape(of)?, bundle: bundle.map(groups::bundle).transpose()?, wanted })
}

/// What a heartbeat says of executors and leases.
pub(super) fn lease_report(heartbeat: &v1::Heartbeat) -> Result<LeaseReport, Malformed> {
    let leases = |leases: &[u64]| leases.iter().copied().map(LeaseId).collect();
    Ok(LeaseReport {
        hosted: leases(&heartbeat.hosted_leases),
        owned: leases(&heartbeat.owned_leases),
        demand: heartbeat.demand.iter().cloned().map(demand).collect::<Result<_, _>>()?,
        jobs: heartbeat.jobs.iter().copied().map(JobId).collect(),
        groups: heartbeat.groups.iter().cloned().map(groups::report).collect::<Result<_, _>>()?,
        may_leave: heartbeat.may_leave,
    })
}

pub(super) fn grant(message: v1::Lease) -> Result<LeaseGrant, Malformed> {
    let v1::Lease { lease, job, owner, host, shape: of, bundle } = message;
    let worker = |address: Option<v1::WorkerAddress>| {
        address.map(|address| WorkerId(address.worker)).ok_or(Malformed("a lease without owner or host"))
    };
    let (owner, host) = (worker(owner)?, worker(host)?);
    let bundle = bundle.map(groups::bundle).transpose()?;
    Ok(LeaseGrant { lease: LeaseId(lease), job: JobId(job), owner, host, shape: shape(of)?, bundle })
}

pub(super) fn wire_grant(grant: &LeaseGrant, owner_address: &str, host_address: &str) -> v1::Lease {
    let address = |worker: WorkerId, address: &str| {
        Some(v1::WorkerAddress { worker: worker.0, data_address: address.to_owned() })
    };
    v1::Lease {
        lease: grant.lease.0,
        job: grant.job.0,
        owner: address(grant.owner, owner_address),
        host: address(grant.host, host_address),
        shape: Some(wire_shape(&grant.shape)),
        bundle: grant.bundle.map(groups::wire_bundle),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_reads_back_from_the_wire() {
        let milli = [("cpus".to_owned(), 500), ("none".to_owned(), 0)];
        let amounts = v1::Resources { milli: milli.into(), memory_bytes: 7 };
        let labels = [("zone".to_owned(), "a".to_owned())];
        let shape = v1::Shape { resources: Some(amounts), labels: labels.into(), spread: true, here: true };
        let place = |worker| Some(v1::WorkerAddress { worker, data_address: "h:1".to_owned() });
        let message = v1::Lease { lease: 1, job: 2, owner: place(3), host: place(4), shape: Some(shape), bundle: None };
        let read = grant(message.clone()).unwrap();
        assert_eq!((read.lease, read.job, read.owner, read.host), (LeaseId(1), JobId(2), WorkerId(3), WorkerId(4)));
        assert_eq!(read.shape.to_string(), "cpus 0.5, memory 1 MiB, zone=a");
        assert_eq!(grant(wire_grant(&read, "h:1", "h:1")).unwrap(), read);
        let bundle = Some(v1::Bundle { group: 5_u128.to_be_bytes().to_vec(), index: 2 });
        let inside = grant(v1::Lease { bundle, ..message.clone() }).unwrap();
        assert_eq!(inside.bundle.map(|bundle| (bundle.group.0, bundle.index)), Some((5, 2)));
        assert_eq!(grant(wire_grant(&inside, "h:1", "h:1")).unwrap(), inside);
        assert!(grant(v1::Lease { host: None, ..message.clone() }).is_err());
        assert!(grant(v1::Lease { shape: None, ..message }).is_err());
    }
}
