//! Placement groups, in both directions, and as people see them.

use tandem_proto::{JobId, v1};
use tandem_scheduler::{
    BundleId, BundleView, GroupNews, GroupPlan, GroupReport, GroupStateView, GroupView, PlacementGroupId, Strategy,
};

use super::leases::{shape, wire_resources, wire_shape};
use super::reports::Malformed;

/// The most bundles of one group, and the longest name.
const MAX_BUNDLES: usize = 10_000;
const MAX_NAME_BYTES: usize = 256;

/// A group that its owner wants.
pub(super) fn plan(message: v1::PlacementGroup) -> Result<GroupPlan, Malformed> {
    report(message).map(|report| report.plan)
}

/// A group as its owner knows it.
pub(super) fn report(message: v1::PlacementGroup) -> Result<GroupReport, Malformed> {
    let strategy = match message.strategy() {
        v1::PlacementStrategy::Pack => Strategy::Pack,
        v1::PlacementStrategy::Spread => Strategy::Spread,
        v1::PlacementStrategy::StrictPack => Strategy::StrictPack,
        v1::PlacementStrategy::StrictSpread => Strategy::StrictSpread,
        v1::PlacementStrategy::Unspecified => return Err(Malformed("a placement group without a strategy")),
    };
    let v1::PlacementGroup { group, job, mut name, bundles, settled, .. } = message;
    if bundles.is_empty() || bundles.len() > MAX_BUNDLES {
        return Err(Malformed("a placement group has 1 to 10000 bundles"));
    }
    name.truncate(name.floor_char_boundary(MAX_NAME_BYTES));
    let bundles = bundles.into_iter().map(|bundle| shape(Some(bundle))).collect::<Result<_, _>>()?;
    let plan = GroupPlan { group: group_id(&group)?, job: JobId(job), name, strategy, bundles };
    Ok(GroupReport { plan, settled })
}

pub(super) fn bundle(message: v1::Bundle) -> Result<BundleId, Malformed> {
    Ok(BundleId { group: group_id(&message.group)?, index: message.index })
}

pub(super) fn wire_bundle(bundle: BundleId) -> v1::Bundle {
    v1::Bundle { group: wire_id(bundle.group), index: bundle.index }
}

pub(super) fn group_id(bytes: &[u8]) -> Result<PlacementGroupId, Malformed> {
    let bytes = bytes.try_into().map_err(|_| Malformed("the id of a placement group is not of 16 bytes"))?;
    Ok(PlacementGroupId(u128::from_be_bytes(bytes)))
}

fn wire_id(group: PlacementGroupId) -> Vec<u8> {
    group.0.to_be_bytes().to_vec()
}

/// How a group stands, for its owner.
pub(super) fn wire_news(job: JobId, group: PlacementGroupId, news: &GroupNews) -> v1::GroupChanged {
    let (kind, reason) = match news {
        GroupNews::Waits(reason) => (v1::GroupNews::Waits, reason.as_str()),
        GroupNews::Reserved => (v1::GroupNews::Reserved, ""),
        GroupNews::Failed(reason) => (v1::GroupNews::Failed, reason.as_str()),
        GroupNews::Gone => (v1::GroupNews::Gone, ""),
    };
    v1::GroupChanged { job: job.0, group: wire_id(group), news: kind.into(), reason: reason.to_owned() }
}

/// A group, for people.
pub(crate) fn group_status(view: &GroupView) -> v1::PlacementGroupStatus {
    let state = match view.state {
        GroupStateView::Pending => v1::PlacementGroupState::Pending,
        GroupStateView::Reserved => v1::PlacementGroupState::Reserved,
        GroupStateView::Broken => v1::PlacementGroupState::Broken,
        GroupStateView::Failed => v1::PlacementGroupState::Failed,
    };
    let strategy = match view.plan.strategy {
        Strategy::Pack => v1::PlacementStrategy::Pack,
        Strategy::Spread => v1::PlacementStrategy::Spread,
        Strategy::StrictPack => v1::PlacementStrategy::StrictPack,
        Strategy::StrictSpread => v1::PlacementStrategy::StrictSpread,
    };
    let bundles = view.plan.bundles.iter().zip(&view.bundles);
    v1::PlacementGroupStatus {
        group: wire_id(view.plan.group),
        job: view.plan.job.0,
        name: view.plan.name.clone(),
        strategy: strategy.into(),
        state: state.into(),
        pending_reason: view.reason.as_ref().map_or_else(String::new, |reason| reason.code()),
        pending_text: view.reason.as_ref().map_or_else(String::new, ToString::to_string),
        bundles: bundles
            .map(|(shape, BundleView { host, worker, used })| v1::BundleStatus {
                shape: Some(wire_shape(shape)),
                worker: host.map_or(0, |host| host.0),
                worker_name: worker.clone(),
                used: Some(wire_resources(used)),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_read_or_refused() {
        let shape = v1::Shape::default();
        let message = v1::PlacementGroup {
            group: 7_u128.to_be_bytes().to_vec(),
            job: 2,
            name: "ä".repeat(200),
            strategy: v1::PlacementStrategy::StrictPack.into(),
            bundles: vec![shape.clone(), shape],
            settled: true,
        };
        let GroupReport { plan, settled } = report(message.clone()).unwrap();
        assert_eq!((plan.group, plan.job, plan.strategy), (PlacementGroupId(7), JobId(2), Strategy::StrictPack));
        assert_eq!((plan.bundles.len(), plan.name.len(), settled), (2, 256, true));
        assert!(report(v1::PlacementGroup { strategy: 0, ..message.clone() }).is_err());
        assert!(report(v1::PlacementGroup { bundles: Vec::new(), ..message.clone() }).is_err());
        assert!(report(v1::PlacementGroup { group: vec![1], ..message }).is_err());
    }
}
