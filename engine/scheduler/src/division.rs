//! How the work of a stage is divided over tasks: one task per partition, fewer where partitions read little or where each task has
//! much to prepare, several for a partition that reads far more than its share. Decided once, when the stage could start, from the
//! measured sizes of its inputs. Pure functions of numbers.
//!
//! ```text
//!   partition      0     1     2     3     4      5
//!   MiB to read    0.1   0.2   0.1   900   60     70
//!                  └─ task 0 ─────┘  tasks 1, 2   task 3   task 4
//! ```

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::plan::StagePlan;

/// Partitions share a task as long as they read no more than this together: less than starting a task is worth.
const SMALL_TASK_BYTES: u64 = 2 << 20;
/// A partition that reads less is not split.
const SPLIT_FROM_BYTES: u64 = 32 << 20;
/// A partition is split when it reads more than this many percent of what each slot would read if all read the same: all other
/// slots would wait for the one that runs it.
const SKEW_PERCENT: u64 = 120;

/// What one task of a stage runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Share {
    /// These partitions, one after the other.
    Partitions(Range<u32>),
    /// These partitions as if they were one.
    Merged(Range<u32>),
    /// One partition, with the rows of some producers of the input that the stage is split over.
    Slice {
        /// The partition.
        partition: u32,
        /// The producers.
        producers: Range<u32>,
    },
}

/// How a stage is divided over tasks. Each partition that a task runs puts out under a number of its own, counted through the stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Division {
    /// One task runs so many partitions.
    Whole(u32),
    /// Each of so many partitions is a task.
    Even(u32),
    /// Each task has its own share.
    Fitted(Vec<FittedTask>),
}

/// One task of a stage that is divided by size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FittedTask {
    /// What it runs.
    pub share: Share,
    /// The number under which its first partition puts out.
    pub first_output: u32,
}

/// The sizes of the inputs of a stage, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct InputSizes {
    /// What each partition reads of all that sizes it.
    pub(crate) partitions: Vec<u64>,
    /// The tasks that made the input that the stage may be split over.
    pub(crate) producers: Vec<Producer>,
}

/// What one task of an input has put out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Producer {
    /// Its output numbers.
    pub(crate) outputs: Range<u32>,
    /// Bytes for each partition of the reader.
    pub(crate) bytes: Vec<u64>,
}

impl Share {
    /// The partitions of the stage plan that it runs.
    pub fn partitions(&self) -> Range<u32> {
        match self {
            Self::Partitions(partitions) | Self::Merged(partitions) => partitions.clone(),
            Self::Slice { partition, .. } => *partition..*partition + 1,
        }
    }

    /// The partitions `partitions`: as one, if they may be.
    fn of(partitions: Range<u32>, mergeable: bool) -> Self {
        if mergeable && partitions.len() > 1 { Self::Merged(partitions) } else { Self::Partitions(partitions) }
    }

    /// Under how many numbers it puts out.
    fn outputs(&self) -> u32 {
        match self {
            Self::Partitions(partitions) => partitions.len() as u32,
            Self::Merged(_) | Self::Slice { .. } => 1,
        }
    }
}

impl Division {
    /// The division of a stage of whose inputs nothing is known.
    pub(crate) fn planned(plan: &StagePlan) -> Self {
        if plan.share_plan { Self::Whole(plan.partitions) } else { Self::Even(plan.partitions) }
    }

    /// At most `tasks` tasks, which run about as many of `partitions` partitions each, as one.
    pub(crate) fn merged(partitions: u32, tasks: u32) -> Self {
        let tasks = tasks.clamp(1, partitions.max(1));
        let start = |task: u32| (u64::from(task) * u64::from(partitions) / u64::from(tasks)) as u32;
        Self::of_shares((0..tasks).map(|task| Share::of(start(task)..start(task + 1), true)).collect())
    }

    /// The division that fits the sizes, with `slots` to run tasks at once. Whether partitions may be run as one is up to the stage.
    pub(crate) fn fit(sizes: &InputSizes, slots: u32, mergeable: bool) -> Self {
        let total: u64 = sizes.partitions.iter().sum();
        let even = (total / u64::from(slots.max(1))).max(1);
        let mut shares: Vec<Share> = Vec::new();
        let mut open: Option<(Range<u32>, u64)> = None;
        for (partition, &bytes) in (0..).zip(&sizes.partitions) {
            let slices = slices(sizes, partition, even);
            if slices.len() > 1 {
                shares.extend(open.take().map(|(partitions, _)| Share::of(partitions, mergeable)));
                shares.extend(slices.into_iter().map(|producers| Share::Slice { partition, producers }));
                continue;
            }
            open = match open.take() {
                Some((partitions, sum)) if sum + bytes <= SMALL_TASK_BYTES => {
                    Some((partitions.start..partition + 1, sum + bytes))
                }
                full => {
                    shares.extend(full.map(|(partitions, _)| Share::of(partitions, mergeable)));
                    Some((partition..partition + 1, bytes))
                }
            };
        }
        shares.extend(open.map(|(partitions, _)| Share::of(partitions, mergeable)));
        Self::of_shares(shares)
    }

    fn of_shares(shares: Vec<Share>) -> Self {
        let mut outputs = 0;
        let tasks = shares.into_iter().map(|share| {
            let first_output = outputs;
            outputs += share.outputs();
            FittedTask { share, first_output }
        });
        Self::Fitted(tasks.collect())
    }

    /// Number of tasks.
    pub fn tasks(&self) -> u32 {
        match self {
            Self::Whole(_) => 1,
            Self::Even(partitions) => *partitions,
            Self::Fitted(tasks) => tasks.len() as u32,
        }
    }

    /// What task `index` runs.
    ///
    /// # Panics
    /// When there is no such task.
    pub fn share(&self, index: u32) -> Share {
        match self {
            Self::Whole(partitions) => Share::Partitions(0..*partitions),
            Self::Even(_) => Share::Partitions(index..index + 1),
            Self::Fitted(tasks) => tasks[index as usize].share.clone(),
        }
    }

    /// The numbers under which the partitions of task `index` put out.
    ///
    /// # Panics
    /// When there is no such task.
    pub fn outputs_of(&self, index: u32) -> Range<u32> {
        match self {
            Self::Whole(partitions) => 0..*partitions,
            Self::Even(_) => index..index + 1,
            Self::Fitted(tasks) => {
                let FittedTask { share, first_output } = &tasks[index as usize];
                *first_output..*first_output + share.outputs()
            }
        }
    }

    /// The task that runs `partition`, or some of it, if there is one.
    pub(crate) fn runner_of(&self, partition: u32) -> Option<u32> {
        match self {
            Self::Whole(_) | Self::Even(_) => self.writer_of(partition),
            Self::Fitted(tasks) => {
                let task = tasks.partition_point(|task| task.share.partitions().start <= partition).checked_sub(1)?;
                tasks[task].share.partitions().contains(&partition).then_some(task as u32)
            }
        }
    }

    /// The task that puts out under `number`, if there is one.
    pub fn writer_of(&self, number: u32) -> Option<u32> {
        match self {
            Self::Whole(partitions) => (number < *partitions).then_some(0),
            Self::Even(partitions) => Some(number).filter(|number| number < partitions),
            Self::Fitted(tasks) => {
                let task = tasks.partition_point(|task| task.first_output <= number).checked_sub(1)? as u32;
                self.outputs_of(task).contains(&number).then_some(task)
            }
        }
    }
}

/// The output numbers of the producers that each task reads into which `partition` is split; fewer than two when it is not.
fn slices(sizes: &InputSizes, partition: u32, even: u64) -> Vec<Range<u32>> {
    let bytes_of = |producer: &Producer| producer.bytes.get(partition as usize).copied().unwrap_or(0);
    let split: u64 = sizes.producers.iter().map(bytes_of).sum();
    let whole = sizes.partitions[partition as usize].saturating_sub(split);
    // Every task reads the rest of the partition whole, so there must be little of it.
    if split <= SPLIT_FROM_BYTES || split / SKEW_PERCENT <= even / 100 || whole > split / 2 {
        return Vec::new();
    }
    let mut slices: Vec<Range<u32>> = Vec::new();
    let mut sum = 0;
    for producer in &sizes.producers {
        let bytes = bytes_of(producer);
        match slices.last_mut() {
            Some(slice) if sum + bytes / 2 <= even => {
                slice.end = producer.outputs.end;
                sum += bytes;
            }
            _ => {
                slices.push(producer.outputs.clone());
                sum = bytes;
            }
        }
    }
    slices
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn shares(division: &Division) -> Vec<Share> {
        (0..division.tasks()).map(|task| division.share(task)).collect()
    }

    fn producers(rows: Vec<Vec<u64>>) -> Vec<Producer> {
        rows.into_iter().zip(0..).map(|(bytes, number)| Producer { outputs: number..number + 1, bytes }).collect()
    }

    fn fit(partitions: &[u64], rows: Vec<Vec<u64>>, slots: u32) -> Vec<Share> {
        let producers = producers(rows);
        shares(&Division::fit(&InputSizes { partitions: partitions.to_vec(), producers }, slots, false))
    }

    #[test]
    fn partitions_are_merged_into_few_tasks() {
        let merged = |partitions, tasks| shares(&Division::merged(partitions, tasks));
        assert_eq!(merged(7, 3), [0..2, 2..4, 4..7].map(Share::Merged));
        assert_eq!(merged(2, 3), [0..1, 1..2].map(Share::Partitions));
        let division = Division::merged(7, 3);
        let outputs: Vec<_> = (0..3).map(|task| division.outputs_of(task)).collect();
        assert_eq!(outputs, [0..1, 1..2, 2..3]);
        let runners: Vec<_> = (0..8).map(|partition| division.runner_of(partition)).collect();
        assert_eq!(runners, [0, 0, 1, 1, 2, 2, 2].map(Some).into_iter().chain([None]).collect::<Vec<_>>());
    }

    #[test]
    fn small_partitions_share_a_task() {
        let shares = fit(&[0, MIB, MIB, 1, 90 * MIB, 0, 5], Vec::new(), 4);
        assert_eq!(shares, [0..3, 3..4, 4..5, 5..7].map(Share::Partitions));
    }

    #[test]
    fn a_partition_with_most_of_the_rows_is_split_by_producers() {
        let producers = vec![vec![10 * MIB, 300 * MIB], vec![10 * MIB, 310 * MIB], vec![10 * MIB, 290 * MIB]];
        let shares = fit(&[30 * MIB, 901 * MIB], producers, 3);
        let slice = |producers| Share::Slice { partition: 1, producers };
        assert_eq!(shares, [Share::Partitions(0..1), slice(0..1), slice(1..2), slice(2..3)]);
    }

    #[test]
    fn a_partition_is_not_split_when_each_task_would_read_much_of_it_again() {
        let producers = vec![vec![0, 100 * MIB], vec![0, 100 * MIB]];
        assert_eq!(fit(&[0, 400 * MIB], producers, 2), [0..1, 1..2].map(Share::Partitions));
    }

    #[test]
    fn partitions_of_equal_size_stay_as_they_are() {
        let producers = vec![vec![100 * MIB, 100 * MIB], vec![100 * MIB, 100 * MIB]];
        assert_eq!(fit(&[200 * MIB, 200 * MIB], producers, 2), [0..1, 1..2].map(Share::Partitions));
    }

    proptest! {
        #[test]
        fn every_row_is_in_exactly_one_share(
            rows in prop::collection::vec(prop::collection::vec(0u64..400 * MIB, 6), 1..8),
            others in prop::collection::vec(0u64..200 * MIB, 6),
            slots in 1u32..9,
            mergeable in any::<bool>(),
        ) {
            let column = |partition: usize| rows.iter().map(|row| row[partition]).sum::<u64>();
            let partitions = (0..6).map(|partition| column(partition) + others[partition]).collect();
            let division = Division::fit(&InputSizes { partitions, producers: producers(rows.clone()) }, slots, mergeable);
            let mut seen = vec![0; 6 * rows.len()];
            for share in shares(&division) {
                let producers = match &share {
                    Share::Partitions(_) | Share::Merged(_) => 0..rows.len() as u32,
                    Share::Slice { producers, .. } => producers.clone(),
                };
                for partition in share.partitions() {
                    for producer in producers.clone() {
                        seen[partition as usize * rows.len() + producer as usize] += 1;
                    }
                }
            }
            prop_assert!(seen.iter().all(|count| *count == 1), "{:?}", division);
            let numbers: Vec<u32> = (0..division.tasks()).flat_map(|task| division.outputs_of(task)).collect();
            prop_assert_eq!(&numbers, &(0..numbers.len() as u32).collect::<Vec<_>>());
            for task in 0..division.tasks() {
                for number in division.outputs_of(task) {
                    prop_assert_eq!(division.writer_of(number), Some(task));
                }
            }
            prop_assert_eq!(division.writer_of(numbers.len() as u32), None);
        }
    }
}
