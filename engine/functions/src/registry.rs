//! Which functions there are.

use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use crate::error::CallError;
use crate::work::Work;
use crate::{sales, text};

/// The name under which executors have all built-in functions. It takes the rows, the arguments of a function, and the function's
/// name, and gives rows.
pub const ENTRY: &str = "tandem::built_in";

/// A function that comes with the binary.
#[derive(Debug, Clone, Copy)]
pub struct BuiltIn {
    /// Its name in job files.
    pub name: &'static str,
    /// What it does, in a few words.
    pub about: &'static str,
    /// It must see all rows at once.
    pub whole: bool,
    /// Rows of one call unless a job says otherwise; none for as many as other functions get.
    pub batch_rows: Option<usize>,
    /// Which of its arguments are paths.
    pub paths: &'static [&'static str],
    pub(crate) check: fn(args: &str) -> Result<(), CallError>,
    pub(crate) plan: fn(args: &str, input: &Schema) -> Result<SchemaRef, CallError>,
    pub(crate) call: fn(args: &str, batches: &[RecordBatch], work: &mut Work) -> Result<Vec<RecordBatch>, CallError>,
}

impl BuiltIn {
    /// Looks at what its arguments name, such as models, before anything runs.
    ///
    /// # Errors
    /// What is missing or cannot be used, by name.
    pub fn check(&self, args: &str) -> Result<(), CallError> {
        (self.check)(args)
    }

    /// The columns it gives for rows of `input`. `args` is the text of a JSON object.
    ///
    /// # Errors
    /// Arguments or columns that it cannot work with, by name.
    pub fn output(&self, args: &str, input: &Schema) -> Result<SchemaRef, CallError> {
        (self.plan)(args, input)
    }

    /// What it makes of `batches`, in order. What it took is added to `work`.
    ///
    /// # Errors
    /// As [`BuiltIn::output`], and what is wrong with the rows.
    pub fn call(&self, args: &str, batches: &[RecordBatch], work: &mut Work) -> Result<Vec<RecordBatch>, CallError> {
        (self.call)(args, batches, work)
    }
}

/// All functions, by name.
pub fn all() -> &'static [BuiltIn] {
    &[text::CLASSIFY, text::EMBED, sales::PRODUCT_ANALYSIS, sales::SALES_SUMMARY, text::TRAIN_CLASSIFIER]
}

/// The function with this name.
pub fn find(name: &str) -> Option<&'static BuiltIn> {
    all().iter().find(|function| function.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_name_and_in_order() {
        assert!(all().is_sorted_by_key(|function| function.name));
        assert!(all().iter().all(|function| find(function.name).is_some_and(|found| found.name == function.name)));
        assert!(find("product-analyses").is_none());
    }
}
