//! What a task does, as it follows from its seed, and what must come out of it.

use crate::random::{Random, mix};

/// What kinds of things programs may do in a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kinds {
    /// Results may name objects. Not with crashes of workers: who owned the object is gone then.
    pub(crate) nested: bool,
    pub(crate) large: bool,
    /// How long large values are.
    pub(crate) large_bytes: u64,
    pub(crate) fails: bool,
    pub(crate) actors: bool,
    pub(crate) cancels: bool,
    /// The driver makes a placement group.
    pub(crate) groups: bool,
    /// The arena has room for so many extents, and what does not fit goes to disk; 0 is for all there is, and none does.
    pub(crate) extents: u64,
    /// What is on disk may be lost: not every result is right then, but each is there.
    pub(crate) lossy: bool,
    /// The driver, and some tasks, take items of a task that yields them; some drivers take those of an actor.
    pub(crate) streams: bool,
    /// An actor may be lost while it yields.
    pub(crate) cuts: bool,
    /// The driver makes actors that ask each other, some in circles.
    pub(crate) circles: bool,
    /// Processes or workers may be lost.
    pub(crate) losses: bool,
    /// So many tasks more read one large value that the driver puts.
    pub(crate) readers: u64,
    /// The driver makes actors that count, and calls them.
    pub(crate) counts: bool,
    /// Tasks call them too.
    pub(crate) tasks_count: bool,
}

/// What a task does that yields items, and its consumer.
#[derive(Debug, Clone)]
pub(crate) struct StreamPlan {
    pub(crate) count: u64,
    pub(crate) window: u64,
    pub(crate) large: bool,
    /// After all of its items.
    pub(crate) fails: bool,
    /// The consumer has enough when it has so many.
    pub(crate) leaves_after: Option<u64>,
}

pub(crate) fn stream_plan(seed: u64, kinds: Kinds) -> StreamPlan {
    let mut random = Random(seed);
    let count = random.below(12);
    StreamPlan {
        count,
        window: 1 + random.below(4),
        large: kinds.large && random.chance(2),
        fails: kinds.fails && random.chance(4),
        leaves_after: random.chance(3).then(|| random.below(count + 1)),
    }
}

/// The value of an item of a stream.
pub(crate) fn item_number(seed: u64, index: u64) -> u64 {
    mix(seed ^ mix(index))
}

/// What one task does.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) puts: bool,
    pub(crate) children: Vec<Child>,
    /// Its result is large.
    pub(crate) large: bool,
    /// Which child's object its result names.
    pub(crate) nested: Option<usize>,
    pub(crate) fails: bool,
}

/// A task that another one submits.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) seed: u64,
    pub(crate) dependency: Dependency,
    /// Its value is waited for; else it is forgotten at once.
    pub(crate) waits: bool,
    pub(crate) cancels: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependency {
    None,
    /// The object of the child before, which is waited for too.
    Before,
    /// What was put.
    Put,
}

/// What comes out of a task; none if it fails.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Out {
    pub(crate) number: Option<u64>,
    pub(crate) nested: Option<Box<Out>>,
}

pub(crate) fn plan(seed: u64, depth: u32, kinds: Kinds) -> Plan {
    let mut random = Random(seed);
    let count = if depth == 0 { 0 } else { random.below(4) as usize };
    let puts = random.chance(3);
    let mut children: Vec<Child> = Vec::new();
    for index in 0..count {
        let seed = random.next();
        let dependency = match random.below(4) {
            0 if index > 0 && children[index - 1].waits && !children[index - 1].cancels => Dependency::Before,
            1 if puts => Dependency::Put,
            _ => Dependency::None,
        };
        let waits = !random.chance(8);
        let cancels = kinds.cancels && random.chance(12);
        children.push(Child { seed, dependency, waits, cancels });
    }
    let named = children.iter().position(|child| child.waits && !child.cancels);
    Plan {
        puts,
        nested: named.filter(|_| kinds.nested && random.chance(3)),
        children,
        large: kinds.large && random.chance(if kinds.extents > 0 { 2 } else { 4 }),
        fails: kinds.fails && random.chance(15),
    }
}

/// The value that a task puts.
pub(crate) fn put_number(seed: u64) -> u64 {
    mix(seed ^ 0x5555)
}

/// What must come out of a task with these arguments.
pub(crate) fn expected(seed: u64, depth: u32, args: &[Out], kinds: Kinds) -> Out {
    let plan = plan(seed, depth, kinds);
    if args.iter().any(|arg| arg.number.is_none()) || plan.fails {
        return Out { number: None, nested: None };
    }
    let mut numbers = vec![seed];
    args.iter().for_each(|arg| add(&mut numbers, arg));
    let put = Out { number: Some(put_number(seed)), nested: None };
    let mut outs: Vec<Out> = Vec::new();
    for (index, child) in plan.children.iter().enumerate() {
        let given: Vec<Out> = match child.dependency {
            Dependency::None => Vec::new(),
            Dependency::Before => vec![outs[index - 1].clone()],
            Dependency::Put => vec![put.clone()],
        };
        outs.push(expected(child.seed, depth.saturating_sub(1), &given, kinds));
    }
    for (child, out) in plan.children.iter().zip(&outs) {
        if child.waits && !child.cancels {
            add(&mut numbers, out);
        }
    }
    let nested = plan.nested.map(|index| Box::new(outs[index].clone()));
    Out { number: Some(digest(&numbers)), nested }
}

fn add(numbers: &mut Vec<u64>, out: &Out) {
    numbers.push(out.number.unwrap_or(FAILED));
    if let Some(nested) = &out.nested {
        add(numbers, nested);
    }
}

/// What stands for the value of something that failed.
pub(crate) const FAILED: u64 = 0xbad;

pub(crate) fn digest(numbers: &[u64]) -> u64 {
    numbers.iter().fold(0, |sum, number| mix(sum ^ number))
}
