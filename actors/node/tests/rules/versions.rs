//! Which versions of the protocol a node serves.

use tandem_actor_protocol::PROTOCOL;
use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::failure::{Failure, FailureKind};
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_node::{Action, DriverWork, Event, ExitCause, Node, NodeConfig, Timestamp};

use crate::bench::{DRIVER, JOB, WORKER};

/// How a driver that says it speaks this version is received: welcomed, or failed.
fn received(protocol: u16) -> Result<u16, Failure> {
    let mut node = Node::new(NodeConfig::new(WORKER, "here"));
    let mut happen = |event| node.handle(Timestamp(1), event);
    happen(Event::DriverLaunched { job: JOB, attempt: 0, driver: DriverWork::Program(Vec::new()) });
    let hello = Hello { protocol, version: "another".to_owned(), pid: 1, functions: Vec::new() };
    let answers = happen(Event::FromExecutor { executor: DRIVER, message: ToNode::Hello(hello) });
    if let [Action::Send { message: ToExecutor::Welcome(welcome), .. }] = &answers[..] {
        return Ok(welcome.protocol);
    }
    assert_eq!(answers, [Action::StopExecutor { executor: DRIVER, at_once: true }], "version {protocol}");
    let ended = happen(Event::ExecutorGone { executor: DRIVER, cause: ExitCause::Asked });
    let failure = ended.into_iter().find_map(|action| match action {
        Action::DriverEnded { outcome, .. } => outcome.err(),
        _ => None,
    });
    Err(failure.expect("the driver has failed"))
}

#[test]
fn the_version_of_the_node_and_the_one_before_are_served() {
    for protocol in [PROTOCOL, PROTOCOL - 1] {
        assert_eq!(received(protocol), Ok(PROTOCOL), "version {protocol}");
    }
}

#[test]
fn other_versions_are_refused_with_both_numbers() {
    for protocol in [Some(PROTOCOL + 1), Some(PROTOCOL + 2), PROTOCOL.checked_sub(2)].into_iter().flatten() {
        let failure = received(protocol).expect_err("it is not served");
        assert_eq!(failure.kind, FailureKind::ProcessLost);
        let words = format!("it speaks version {protocol} of the protocol, this worker {PROTOCOL}");
        assert!(failure.message.contains(&words), "{failure}");
    }
}
