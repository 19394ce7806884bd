//! Room in the arena that one process gives up for another.

use tandem_actor_protocol::executor::ToExecutor;
use tandem_actor_protocol::node::{Hello, ToNode};
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{ExtentId, Location, PROTOCOL, ProcessNumber, SpaceLease};
use tandem_arena::ArenaConfig;
use tandem_node::{Action, DriverWork, Event, Node, NodeConfig, Timestamp};

use crate::bench::{DRIVER, JOB, WORKER};

const QUOTA_BYTES: u64 = 64 << 20;
const VALUE_BYTES: u64 = 1 << 20;

/// A driver in an arena that is soon full.
struct Scene {
    node: Node,
}

impl Scene {
    fn of_version(protocol: u16) -> Self {
        let arena = ArenaConfig { quota_bytes: QUOTA_BYTES, ..ArenaConfig::default() };
        let mut scene = Self { node: Node::new(NodeConfig { arena, ..NodeConfig::new(WORKER, "here") }) };
        scene.feed(Event::DriverLaunched { job: JOB, attempt: 0, driver: DriverWork::Program(Vec::new()) });
        scene.say(ToNode::Hello(Hello { protocol, version: String::new(), pid: 1, functions: Vec::new() }));
        scene
    }

    /// What the driver is told then.
    fn feed(&mut self, event: Event) -> Vec<ToExecutor> {
        let actions = self.node.handle(Timestamp(1), event);
        let told = |action| match action {
            Action::Send { executor: DRIVER, message } => Some(message),
            _ => None,
        };
        actions.into_iter().filter_map(told).collect()
    }

    fn say(&mut self, message: ToNode) -> Vec<ToExecutor> {
        self.feed(Event::FromExecutor { executor: DRIVER, message })
    }

    fn need(&mut self, bytes: u64) -> SpaceLease {
        let told = self.say(ToNode::NeedSpace { bytes });
        match &told[..] {
            [.., ToExecutor::Space(Ok(lease))] => *lease,
            other => panic!("{other:?}"),
        }
    }

    /// The driver puts a value, takes all the rest of the arena, and asks for more. Where the value is, and how the driver is
    /// asked for that room.
    fn fill(&mut self) -> (ExtentId, Vec<ToExecutor>) {
        let SpaceLease { extent, offset, .. } = self.need(VALUE_BYTES);
        let object = ProcessNumber(1).object(WORKER, 7);
        let location = Location { extent, offset, length: VALUE_BYTES };
        let body = Body::Shared { format: Format::Bytes, object, location };
        self.say(ToNode::Put { object, value: Value { body, refs: Vec::new() } });
        let mut asked = Vec::new();
        while asked.is_empty() {
            let told = self.say(ToNode::NeedSpace { bytes: VALUE_BYTES });
            asked.extend(told.into_iter().filter(
                |message| matches!(message, ToExecutor::GiveUp(of) | ToExecutor::StopWriting(of) if *of == extent),
            ));
        }
        (extent, asked)
    }

    /// What the driver is told before it gets the value.
    fn fetch(&mut self) -> Vec<ToExecutor> {
        let objects = vec![ProcessNumber(1).object(WORKER, 7)];
        let mut told = self.say(ToNode::Watch { objects, fetch: true });
        let value = told.pop();
        assert!(matches!(value, Some(ToExecutor::Value { outcome: Ok(_), .. })), "{value:?}");
        told
    }
}

#[test]
fn an_extent_that_was_given_up_is_read_without_being_sent_again() {
    let mut scene = Scene::of_version(PROTOCOL);
    let (extent, asked) = scene.fill();
    assert_eq!(asked, [ToExecutor::StopWriting(extent)]);
    let told = scene.say(ToNode::GaveUp(extent));
    // Who waits has it, and may write there by a new descriptor.
    let mapped = told
        .iter()
        .position(|message| matches!(message, ToExecutor::Extent { extent: of, writable: true, .. } if *of == extent));
    let granted =
        told.iter().position(|message| matches!(message, ToExecutor::Space(Ok(lease)) if lease.extent == extent));
    assert!(mapped.is_some() && mapped < granted, "{told:?}");
    assert_eq!(scene.fetch(), []);
}

#[test]
fn an_older_process_forgets_what_it_gives_up() {
    let mut scene = Scene::of_version(2);
    let (extent, asked) = scene.fill();
    assert_eq!(asked, [ToExecutor::GiveUp(extent)]);
    scene.say(ToNode::GaveUp(extent));
    // One that waits has room there now, so it is mapped.
    assert_eq!(scene.fetch(), []);
}
