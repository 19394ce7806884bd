//! What a function did beside giving rows: how much of what, on which device, how long. It comes with the rows, in the metadata of
//! their schema, and goes into the job's report.

use std::collections::HashMap;

use arrow::datatypes::Schema;
use serde::{Deserialize, Serialize};
use tandem_proto::v1::RowCountKind;

use crate::scope::TaskScope;

/// The key in the metadata.
const KEY: &str = "tandem.work";
/// More kinds of work than any function does; those of one that names each row would fill the coordinator.
const MAX_KINDS: usize = 16;
const MAX_NAME_CHARS: usize = 64;

/// Work of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkDone {
    /// What was counted, such as `tokens`.
    pub unit: String,
    /// What did it, such as `cpu, bf16`.
    pub device: String,
    /// How many.
    pub count: u64,
    /// Microseconds that it took.
    pub elapsed_us: u64,
}

impl WorkDone {
    /// All of `done`, as metadata of the schema of a function's rows.
    pub fn to_metadata(done: &[Self]) -> HashMap<String, String> {
        // Names and numbers always have a form in JSON.
        serde_json::to_string(done).map(|text| (KEY.to_owned(), text)).into_iter().collect()
    }

    /// What the metadata of `schema` says, as far as it can be read.
    fn of(schema: &Schema) -> Vec<Self> {
        let done: Vec<Self> =
            schema.metadata().get(KEY).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let short = |text: &String| text.chars().count() <= MAX_NAME_CHARS;
        done.into_iter().filter(|work| short(&work.unit) && short(&work.device)).take(MAX_KINDS).collect()
    }
}

/// What the names begin with that work of `step` is counted by; `unit on device` follows.
pub fn work_prefix(step: &str) -> String {
    format!("{step}: ")
}

/// Counts what the schema of a call's rows says.
pub(super) fn count(scope: &TaskScope, step: &str, schema: &Schema) {
    for WorkDone { unit, device, count, elapsed_us } in WorkDone::of(schema) {
        let name = format!("{}{unit} on {device}", work_prefix(step));
        scope.count(RowCountKind::Worked, &name, count, 0);
        scope.count(RowCountKind::Timed, &name, elapsed_us, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_read_back_and_bounded() {
        let work = |unit: &str| WorkDone { unit: unit.to_owned(), device: "cpu".to_owned(), count: 3, elapsed_us: 4 };
        let read = |done: &[WorkDone]| WorkDone::of(&Schema::empty().with_metadata(WorkDone::to_metadata(done)));
        assert_eq!(read(&[work("tokens")]), [work("tokens")]);
        assert_eq!(read(&[work(&"x".repeat(100))]), []);
        assert_eq!(read(&vec![work("rows"); 100]).len(), MAX_KINDS);
        assert_eq!(WorkDone::of(&Schema::empty().with_metadata([(KEY.to_owned(), "[".to_owned())].into())), []);
    }
}
