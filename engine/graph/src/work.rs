//! The part of a stage that one attempt of a task runs.

use std::ops::Range;

use tandem_proto::StageId;

/// What of a stage one attempt runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskWork {
    /// Partitions of the stage plan.
    pub partitions: Vec<u32>,
    /// The number under which the first of them keeps its output; the next takes the next number.
    pub first_output: u32,
    /// Of this input only a part is read.
    pub slice: Option<InputSlice>,
    /// The partitions are run as one, which keeps its output under the first number.
    pub merged: bool,
}

/// The part of an input stage that one task reads, when several share a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSlice {
    /// The input stage.
    pub stage: StageId,
    /// The producers whose output is read.
    pub producers: Range<u32>,
}

impl TaskWork {
    /// Whole partitions, each of which keeps its output under its own number.
    pub fn whole(partitions: Range<u32>) -> Self {
        Self { first_output: partitions.start, partitions: partitions.collect(), ..Self::default() }
    }

    /// The numbers of its outputs.
    pub fn outputs(&self) -> Range<u32> {
        let outputs = if self.merged { 1 } else { self.partitions.len() as u32 };
        self.first_output..self.first_output.saturating_add(outputs)
    }

    /// The partitions that put out under each of these numbers.
    pub fn parts(&self) -> Vec<Vec<usize>> {
        let partitions = self.partitions.iter().map(|&partition| partition as usize);
        if self.merged { vec![partitions.collect()] } else { partitions.map(|partition| vec![partition]).collect() }
    }
}
