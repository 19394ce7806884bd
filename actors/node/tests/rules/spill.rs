//! Objects that go to disk when others need their room.

use tandem_actor_protocol::call::Arg;
use tandem_actor_protocol::executor::{Run, ToExecutor};
use tandem_actor_protocol::failure::FailureKind;
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::value::{Body, Format, Value};
use tandem_actor_protocol::{Location, ObjectId, SpaceLease};
use tandem_arena::ArenaConfig;
use tandem_node::{Action, Event, Lent, LentAt, NodeConfig, RestoreError, SpillFile};

use crate::bench::{Bench, DRIVER, JOB, WORKER};

const VALUE_BYTES: u64 = 900_000;
/// Values that fit into the arena, which is one extent.
const FIT: usize = 2;

fn bench_with(change: impl FnOnce(&mut NodeConfig)) -> Bench {
    let mut config = NodeConfig::new(WORKER, "here");
    config.arena = ArenaConfig {
        extent_bytes: 2 << 20,
        quota_bytes: 2 << 20,
        min_lease_bytes: VALUE_BYTES,
        max_lease_bytes: VALUE_BYTES,
        max_objects: 100,
    };
    config.spill_limit_bytes = 1 << 30;
    change(&mut config);
    Bench::with(config)
}

fn bench() -> Bench {
    bench_with(|_| {})
}

impl Bench {
    /// The room that the driver was given last, if it was.
    fn given(&mut self) -> Option<SpaceLease> {
        let lease = self.heard().filter_map(|message| match message {
            ToExecutor::Space(Ok(lease)) => Some(*lease),
            _ => None,
        });
        lease.last()
    }

    fn rooms(&self) -> usize {
        self.heard().filter(|message| matches!(message, ToExecutor::Space(Ok(_)))).count()
    }

    fn need(&mut self) {
        self.say(DRIVER, ToNode::NeedSpace { bytes: VALUE_BYTES });
    }

    /// The driver puts a value where it was given room, and gives the rest of that back.
    fn put(&mut self) -> ObjectId {
        let lease = self.given().expect("room");
        let object = self.next_id(DRIVER).object(0);
        let location = Location { extent: lease.extent, offset: lease.offset, length: VALUE_BYTES };
        let body = Body::Shared { format: Format::Bytes, object, location };
        self.say(DRIVER, ToNode::Put { object, value: Value { body, refs: Vec::new() } });
        self.say(DRIVER, ToNode::SpaceUsed(vec![lease]));
        object
    }

    /// As many values as there is room for.
    fn fill(&mut self) -> Vec<ObjectId> {
        (0..FIT)
            .map(|_| {
                self.need();
                self.put()
            })
            .collect()
    }

    fn spills(&self) -> Vec<SpillFile> {
        let spill = |action: &Action| if let Action::Spill { file, .. } = action { Some(*file) } else { None };
        self.acted.iter().filter_map(spill).collect()
    }

    fn dropped(&self) -> Vec<SpillFile> {
        let dropped = |action: &Action| if let Action::DropSpilled { file } = action { Some(*file) } else { None };
        self.acted.iter().filter_map(dropped).collect()
    }

    /// What is to be read back, and where from.
    fn restores(&self) -> Vec<(ObjectId, SpillFile)> {
        let restore = |action: &Action| match action {
            Action::Restore { object, file, .. } => Some((*object, *file)),
            _ => None,
        };
        self.acted.iter().filter_map(restore).collect()
    }

    fn spilled(&mut self, file: SpillFile, outcome: Result<(), String>) {
        self.feed(Event::Spilled { job: JOB, file, outcome });
    }

    fn restored(&mut self, object: ObjectId, outcome: Result<(), RestoreError>) {
        self.feed(Event::Restored { job: JOB, object, outcome });
    }

    /// The driver gives up where it may write, when it was asked to.
    fn give_up(&mut self) {
        let asked = self.heard().filter_map(|message| match message {
            ToExecutor::StopWriting(extent) => Some(*extent),
            _ => None,
        });
        let asked: Vec<_> = asked.collect();
        for extent in asked {
            self.say(DRIVER, ToNode::GaveUp(extent));
        }
    }

    fn watch(&mut self, object: ObjectId) {
        self.say(DRIVER, ToNode::Watch { objects: vec![object], fetch: true });
    }

    /// The name by which the driver was given an object, as often as it was.
    fn values(&self, object: ObjectId) -> Vec<ObjectId> {
        let name = |message: &ToExecutor| match message {
            ToExecutor::Value { object: of, outcome: Ok(value) } if *of == object => match value.body {
                Body::Shared { object: name, .. } => Some(name),
                Body::Inline { .. } => None,
            },
            _ => None,
        };
        self.heard().filter_map(name).collect()
    }

    fn refusals(&self) -> Vec<String> {
        let refused = |message: &ToExecutor| match message {
            ToExecutor::Space(Err(failure)) => Some(failure.message.clone()),
            _ => None,
        };
        self.heard().filter_map(refused).collect()
    }

    fn run_of(&self, function: &str) -> Option<Run> {
        let run = |message: &ToExecutor| match message {
            ToExecutor::Run(run) if run.function == function => Some(run.clone()),
            _ => None,
        };
        self.heard().find_map(run)
    }

    /// Another worker reads an object: what it is lent, by the ticket with this number.
    fn lend(&mut self, ticket: u64, object: ObjectId) -> Option<Lent> {
        self.feed(Event::ReadWanted { ticket, job: JOB, object });
        match self.acted.last() {
            Some(Action::ReadGiven { ticket: of, lent }) if *of == ticket => *lent,
            other => panic!("{other:?}"),
        }
    }

    /// One of two values on disk, the other in memory, and room for one that the driver has been given.
    fn one_on_disk(&mut self) -> (ObjectId, ObjectId) {
        let objects = self.fill();
        self.need();
        let file = self.spills()[0];
        self.spilled(file, Ok(()));
        (objects[0], objects[1])
    }
}

#[test]
fn who_needs_room_gets_that_of_what_was_used_longest_ago_once_it_is_written() {
    let mut bench = bench();
    let objects = bench.fill();
    bench.watch(objects[0]);
    let name = bench.values(objects[0])[0];
    bench.say(DRIVER, ToNode::Unpin(vec![name]));
    bench.need();
    let spilled = bench.spills();
    assert_eq!((spilled.len(), bench.rooms()), (1, FIT), "one is enough, and it is not free before it is written");
    bench.spilled(spilled[0], Ok(()));
    assert_eq!(bench.rooms(), FIT + 1);
    bench.watch(objects[0]);
    assert!(bench.restores().is_empty() && bench.values(objects[0]).len() == 2, "it was used after the other");
}

#[test]
fn what_is_wanted_again_comes_back_when_there_is_room() {
    let mut bench = bench();
    let (on_disk, _) = bench.one_on_disk();
    let third = bench.put();
    bench.watch(on_disk);
    assert_eq!(bench.restores(), [], "there is no room for it");
    bench.give_up();
    let second = bench.spills()[1];
    bench.spilled(second, Ok(()));
    let first = bench.spills()[0];
    assert_eq!(bench.restores(), [(on_disk, first)]);
    assert_eq!(bench.dropped(), [], "it is being read");
    bench.restored(on_disk, Ok(()));
    assert_eq!((bench.values(on_disk).len(), bench.dropped()), (1, vec![first]));
    bench.say(DRIVER, ToNode::Release(vec![third, on_disk]));
    assert_eq!(bench.node.spilled_bytes(), VALUE_BYTES, "only the one between is on disk");
}

#[test]
fn what_a_process_reads_stays() {
    let mut bench = bench();
    let objects = bench.fill();
    objects.iter().for_each(|object| bench.watch(*object));
    bench.need();
    assert_eq!(bench.spills(), []);
    bench.wait(10_000);
    assert_eq!(bench.refusals().len(), 1);
    bench.need();
    let name = bench.values(objects[1])[0];
    bench.say(DRIVER, ToNode::Unpin(vec![name]));
    assert_eq!(bench.spills().len(), 1, "it may go as soon as it is read no more");
}

#[test]
fn what_is_used_while_it_is_written_stays_and_its_file_goes() {
    let mut bench = bench();
    let objects = bench.fill();
    bench.need();
    let file = bench.spills()[0];
    objects.iter().for_each(|object| bench.watch(*object));
    bench.spilled(file, Ok(()));
    assert_eq!((bench.dropped(), bench.rooms()), (vec![file], FIT));
    assert_eq!(bench.node.spilled_bytes(), 0);
}

#[test]
fn a_failed_write_is_told_to_who_waits_and_tried_again() {
    let mut bench = bench();
    let objects = bench.fill();
    bench.need();
    let file = bench.spills()[0];
    bench.spilled(file, Err("cannot write to /spill: No space left on device".to_owned()));
    assert_eq!((bench.spills().len(), bench.node.spilled_bytes()), (1, 0));
    bench.wait(1_000);
    let again = bench.spills()[1];
    bench.spilled(again, Err("cannot write to /spill: No space left on device".to_owned()));
    bench.wait(10_000);
    let refusals = bench.refusals();
    assert!(refusals.len() == 1 && refusals[0].ends_with("disk: cannot write to /spill: No space left on device"));
    objects.iter().for_each(|object| bench.watch(*object));
    assert_eq!(bench.restores(), [], "all are where they were");
}

#[test]
fn the_limit_holds_and_is_told() {
    let mut bench = bench_with(|config| config.spill_limit_bytes = 1_000_000);
    let (_, other) = bench.one_on_disk();
    bench.put();
    bench.need();
    assert_eq!(bench.spills().len(), 1);
    bench.wait(10_000);
    assert!(bench.refusals()[0].contains("the limit of 1000000 bytes on disk"), "{:?}", bench.refusals());
    bench.need();
    bench.say(DRIVER, ToNode::Release(vec![other]));
    assert_eq!(bench.rooms(), FIT + 2, "room that is given back is given to who waits");
}

#[test]
fn what_was_put_and_cannot_be_read_back_is_lost_with_a_reason() {
    let mut bench = bench();
    let (on_disk, _) = bench.one_on_disk();
    bench.give_up();
    bench.watch(on_disk);
    let file = bench.restores()[0].1;
    bench.restored(on_disk, Err(RestoreError::Damaged("its bytes are others".to_owned())));
    let lost = bench.heard().find_map(|message| match message {
        ToExecutor::Value { object, outcome: Err(failure) } if *object == on_disk => Some(failure.clone()),
        _ => None,
    });
    let lost = lost.expect("it was told");
    assert_eq!((lost.kind, bench.dropped()), (FailureKind::ObjectLost, vec![file]));
    assert!(lost.message.contains("its bytes are others"), "{lost}");
}

#[test]
fn an_argument_comes_back_before_the_task_runs() {
    let mut bench = bench();
    let (on_disk, here) = bench.one_on_disk();
    bench.give_up();
    bench.submit("f", vec![Arg::Object(on_disk), Arg::Object(here)], None);
    assert_eq!(bench.run_of("f"), None);
    assert_eq!(bench.restores().len(), 1);
    bench.restored(on_disk, Ok(()));
    assert!(bench.run_of("f").is_some());
}

#[test]
fn with_the_job_all_files_go() {
    let mut bench = bench();
    bench.one_on_disk();
    bench.give_up();
    bench.need();
    bench.need();
    let written = bench.spills();
    assert_eq!(written.len(), 2, "one is on disk, and one is being written");
    bench.feed(Event::JobGone { job: JOB });
    bench.feed(Event::ExecutorGone { executor: DRIVER, cause: tandem_node::ExitCause::Asked });
    let forgotten = |bench: &Bench| bench.acted.iter().any(|action| matches!(action, Action::ForgetJob { .. }));
    assert!(!forgotten(&bench), "it is not over before all is written");
    bench.spilled(written[1], Ok(()));
    let mut dropped = bench.dropped();
    dropped.sort_unstable();
    assert_eq!(dropped, written);
    assert!(forgotten(&bench) && bench.node.spilled_bytes() == 0);
}

#[test]
fn another_worker_reads_what_is_on_disk_from_there() {
    let mut bench = bench();
    let objects = bench.fill();
    let in_memory = bench.lend(1, objects[0]).expect("it is there");
    assert!(matches!(in_memory.at, LentAt::Arena(_)));
    bench.feed(Event::SpaceDropped { ticket: 1 });
    bench.lend(2, objects[1]).expect("it is there");
    bench.need();
    let file = bench.spills()[0];
    bench.spilled(file, Ok(()));
    let lent = bench.lend(3, objects[0]);
    let at = LentAt::Disk { file, length: VALUE_BYTES };
    assert_eq!(lent, Some(Lent { copy: in_memory.copy, at }), "these are the same bytes");
    assert_eq!(bench.restores(), [], "nothing is brought back for that");
    bench.say(DRIVER, ToNode::Release(vec![objects[0]]));
    assert_eq!(bench.dropped(), [], "it is being read");
    bench.feed(Event::SpaceDropped { ticket: 3 });
    assert_eq!((bench.dropped(), bench.node.spilled_bytes()), (vec![file], 0));
    assert_eq!(bench.lend(4, objects[0]), None);
}

#[test]
fn what_is_damaged_on_disk_when_another_worker_reads_it_is_lost() {
    let mut bench = bench();
    let (on_disk, _) = bench.one_on_disk();
    let file = bench.spills()[0];
    (1..=2).for_each(|ticket| assert!(bench.lend(ticket, on_disk).is_some()));
    for ticket in 1..=2 {
        bench.feed(Event::ReadFailed { ticket, reason: "a bit has flipped".to_owned() });
        assert_eq!(bench.dropped(), [], "others read it still");
        assert_eq!(bench.lend(ticket + 2, on_disk), None);
    }
    bench.watch(on_disk);
    let told = bench.heard().find_map(|message| match message {
        ToExecutor::Value { object, outcome: Err(failure) } if *object == on_disk => Some(failure.clone()),
        _ => None,
    });
    let failure = told.expect("it was put, and cannot be made again");
    assert_eq!(failure.kind, FailureKind::ObjectLost);
    assert_eq!(failure.message, "a bit has flipped, and it cannot be made again");
    (1..=2).for_each(|ticket| bench.feed(Event::SpaceDropped { ticket }));
    assert_eq!(bench.dropped(), [file]);
}
