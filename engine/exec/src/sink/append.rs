//! Whether rows go with what an append finds: readers of a folder take its files for one table, of one format and with the
//! columns of one of them.

use std::sync::Arc;

use arrow::datatypes::Schema;
use datafusion::prelude::SessionContext;

use super::encode::{file_schema, same_type};
use super::hive::{encode, partition_columns};
use super::spec::{SinkMode, SinkSpec};
use super::target::Target;
use crate::error::PlanError;
use crate::source::{SourceFormat, SourceSpec, by_extension, open_source};
use crate::storage::{FileEntry, Storage};

/// What to do about rows that do not go with what is there.
const HELP: &str = "write what is there already has, or write to another folder";

/// Whether rows of `schema` may be appended to what the target of `spec` holds, if it is to be appended to.
///
/// # Errors
/// Names the file, and the column, that they do not go with.
pub async fn check_append(
    spec: &SinkSpec,
    schema: &Schema,
    storage: &Arc<Storage>,
    context: &SessionContext,
) -> Result<(), PlanError> {
    if spec.mode != SinkMode::Append {
        return Ok(());
    }
    let target = Target::location(spec, storage)?;
    let files = storage.find(&target).await?;
    let Some((file, format)) = example(spec, &files)? else { return Ok(()) };
    let below = file.path.strip_prefix(target.path().as_ref()).unwrap_or(&file.path);
    check_folders(spec, below)?;
    let source = SourceSpec { format: Some(format), ..SourceSpec::new(&spec.name, file.to_string()) };
    let found = open_source(&source, storage, context).await.map_err(|error| match error {
        PlanError::Storage(_) => error,
        other => refused(spec, &other.to_string()),
    })?;
    check_columns(spec, schema, file, format, &found.table.schema())
}

/// A file to compare with; none where there is no data. All are of the sink's format.
fn example<'f>(spec: &SinkSpec, files: &'f [FileEntry]) -> Result<Option<(&'f FileEntry, SourceFormat)>, PlanError> {
    let (ours, _) = by_extension(&format!("part.{}", spec.part_extension()));
    let data = files.iter().filter(|file| file.size > 0).filter_map(|file| Some((file, by_extension(&file.path).0?)));
    let mut last = None;
    for (file, format) in data {
        if !ours.is_some_and(|ours| format.includes(ours)) {
            return Err(refused(spec, &format!("{file} is not a {} file", spec.format.extension())));
        }
        last = Some((file, format));
    }
    Ok(last)
}

/// Whether the file at `below` the target is in folders of the sink's columns.
fn check_folders(spec: &SinkSpec, below: &str) -> Result<(), PlanError> {
    let (folders, _) = below.rsplit_once('/').unwrap_or_default();
    let found: Vec<&str> = folders.split('/').filter_map(|folder| Some(folder.split_once('=')?.0)).collect();
    if found.iter().copied().eq(spec.partition_by.iter().map(|column| encode(column))) {
        return Ok(());
    }
    let of = |columns: &[&str]| match columns {
        [] => "no folders of columns".to_owned(),
        _ => format!("folders of {}", columns.join(", ")),
    };
    let wanted: Vec<&str> = spec.partition_by.iter().map(String::as_str).collect();
    Err(refused(spec, &format!("it has {}, and the sink {}", of(&found), of(&wanted))))
}

fn check_columns(
    spec: &SinkSpec,
    schema: &Schema,
    file: &FileEntry,
    format: SourceFormat,
    found: &Schema,
) -> Result<(), PlanError> {
    let ours = file_schema(schema, &partition_columns(spec, schema)?);
    // Of such files in folders of columns, a reader puts the columns of all together.
    let may_differ = !format.is_text() && !spec.partition_by.is_empty();
    for field in ours.fields() {
        let name = field.name();
        match found.field_with_name(name) {
            Err(_) if !may_differ => return Err(refused(spec, &format!("{file} has no column `{name}`"))),
            // What texts are read as is found out from what they hold.
            Ok(other) if !format.is_text() && !same_type(field.data_type(), other.data_type()) => {
                let types = (other.data_type(), field.data_type());
                let what = format!("column `{name}` of {file} is of type {}, that of the sink {}", types.0, types.1);
                return Err(refused(spec, &what));
            }
            _ => {}
        }
    }
    match found.fields().iter().find(|field| ours.field_with_name(field.name()).is_err()) {
        Some(field) if !may_differ => {
            Err(refused(spec, &format!("the sink has no column `{}`, which {file} has", field.name())))
        }
        _ => Ok(()),
    }
}

fn refused(spec: &SinkSpec, why: &str) -> PlanError {
    spec.invalid(&format!("cannot append to {}: {why}", spec.path), HELP)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::path::Path;

    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::sink::{Compression, SinkFormat, parquet_writer};

    const A: (&str, DataType) = ("a", DataType::Int64);
    const B: (&str, DataType) = ("b", DataType::Utf8View);

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
    }

    fn write_parquet(path: &Path, columns: &[(&str, DataType)]) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let file = fs::File::create(path).unwrap();
        parquet_writer(&Arc::new(schema(columns)), Compression::None, file).unwrap().close().unwrap();
    }

    /// What is said of appending such columns to `folder`.
    async fn check(folder: &Path, format: SinkFormat, by: &[&str], columns: &[(&str, DataType)]) -> String {
        let spec = SinkSpec {
            mode: SinkMode::Append,
            partition_by: by.iter().map(|&column| column.to_owned()).collect(),
            ..SinkSpec::new("s", folder.to_str().unwrap(), format)
        };
        let storage = Arc::new(Storage::new(BTreeMap::new()));
        let checked = check_append(&spec, &schema(columns), &storage, &SessionContext::new()).await;
        checked.err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[track_caller]
    fn assert_says(error: &str, words: &str) {
        assert!(if words.is_empty() { error.is_empty() } else { error.contains(words) }, "{words}: {error}");
    }

    #[tokio::test]
    async fn columns_and_types_of_parquet_files_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        assert_says(&check(&out, SinkFormat::Parquet, &[], &[A]).await, "");
        fs::create_dir(&out).unwrap();
        assert_says(&check(&out, SinkFormat::Parquet, &[], &[A]).await, "");
        write_parquet(&out.join("part-0.parquet"), &[A, B]);
        let large = ("b", DataType::LargeUtf8);
        let packed = ("b", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)));
        for columns in [[A, B], [B, A], [A, large], [A, packed]] {
            assert_says(&check(&out, SinkFormat::Parquet, &[], &columns).await, "");
        }
        assert_says(&check(&out, SinkFormat::Parquet, &[], &[A]).await, "the sink has no column `b`");
        let other = [A, B, ("c", DataType::Int64)];
        assert_says(&check(&out, SinkFormat::Parquet, &[], &other).await, "has no column `c`");
        let other = [("a", DataType::Int32), B];
        assert_says(&check(&out, SinkFormat::Parquet, &[], &other).await, "column `a`");
        assert_says(&check(&out, SinkFormat::Csv, &[], &[A, B]).await, "part-0.parquet is not a csv file");
        assert_says(&check(&out, SinkFormat::Parquet, &["b"], &[A, B]).await, "the sink folders of b");
    }

    #[tokio::test]
    async fn files_in_folders_of_columns_may_get_columns() {
        let folder = tempfile::tempdir().unwrap();
        write_parquet(&folder.path().join("b=x/part-0.parquet"), &[A]);
        let more = [A, B, ("c", DataType::Int64)];
        assert_says(&check(folder.path(), SinkFormat::Parquet, &["b"], &more).await, "");
        let other = [("a", DataType::Boolean), B];
        assert_says(&check(folder.path(), SinkFormat::Parquet, &["b"], &other).await, "column `a`");
        assert_says(&check(folder.path(), SinkFormat::Parquet, &[], &[A, B]).await, "it has folders of b");
    }

    #[tokio::test]
    async fn text_files_are_known_by_their_columns() {
        let folder = tempfile::tempdir().unwrap();
        for (format, text) in [(SinkFormat::Csv, "a,b\n1,x\n"), (SinkFormat::Jsonl, "{\"a\":1,\"b\":null}\n")] {
            let out = folder.path().join(format.extension());
            fs::create_dir(&out).unwrap();
            fs::write(out.join("notes.txt"), "x").unwrap();
            fs::write(out.join(format!("part-0.{}", format.extension())), text).unwrap();
            let text = ("a", DataType::Utf8View);
            assert_says(&check(&out, format, &[], &[B, text]).await, "");
            assert_says(&check(&out, format, &[], &[A, ("c", DataType::Utf8)]).await, "has no column `c`");
            assert_says(&check(&out, SinkFormat::Parquet, &[], &[A, B]).await, "is not a parquet file");
        }
    }
}
