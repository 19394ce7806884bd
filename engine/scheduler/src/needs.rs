//! What the tasks of a stage take of their workers besides a slot.

use tandem_graph::StageNeeds;

use crate::resources::{CPUS, Resources, SLOT_MILLI, Shape};

/// See the module's header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The step that says so.
    pub(crate) step: String,
    /// All that a task takes, its slot included.
    pub(crate) shape: Shape,
    /// What of it is not the slot.
    pub(crate) beyond: Resources,
    /// What the step asks for, for people.
    asked: String,
}

impl Needs {
    pub(crate) fn new(needs: &StageNeeds) -> Self {
        let StageNeeds { step, milli, labels } = needs;
        let mut beyond = Resources { milli: milli.clone(), memory_bytes: 0 };
        let slot = Resources { milli: [(CPUS.to_owned(), SLOT_MILLI)].into(), memory_bytes: 0 };
        beyond.subtract(&slot);
        let mut resources = beyond.clone();
        resources.add(&slot);
        let shape = Shape { resources, labels: labels.clone(), ..Shape::default() };
        Self { step: step.clone(), shape, beyond, asked: needs.to_string() }
    }

    /// The resource besides processors that its tasks compete for, if any.
    pub(crate) fn scarce(&self) -> Option<&str> {
        self.shape.scarce()
    }

    /// Who waits for what.
    pub(crate) fn wish(&self) -> String {
        format!("step `{}` needs {}", self.step, self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(amounts: &[(&str, u64)]) -> Needs {
        let milli = amounts.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
        Needs::new(&StageNeeds {
            step: "vectors".to_owned(),
            milli,
            labels: [("zone".to_owned(), "a".to_owned())].into(),
        })
    }

    #[test]
    fn a_slot_is_a_part_of_what_a_task_takes() {
        for (asked, all, beyond) in [(0, 1_000, 0), (500, 1_000, 0), (1_000, 1_000, 0), (4_000, 4_000, 3_000)] {
            let amounts = [(CPUS, asked), ("gpus", 500)];
            let needs = needs(&amounts[usize::from(asked == 0)..]);
            assert_eq!((needs.shape.cpus(), needs.beyond.amount(CPUS)), (all, beyond));
            assert_eq!((needs.beyond.amount("gpus"), needs.scarce()), (500, Some("gpus")));
        }
        assert_eq!(needs(&[("gpus", 500)]).wish(), "step `vectors` needs gpus 0.5, zone=a");
        assert_eq!(needs(&[]).scarce(), None);
    }
}
