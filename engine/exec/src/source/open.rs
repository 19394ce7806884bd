//! Opens a source: lists its files, looks at their heads, and makes a table of them. Nothing is read afterwards but the
//! files of this list.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::catalog::TableProvider;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};

use super::csv::{CsvHead, CsvLayout, Dialect, HeadError, column_names, layout_of, misspelt, nearest, read_csv_head};
use super::files::open_file_table;
use super::folders::{Columns, FolderColumns};
use super::infer::schema_of;
use super::input::read_head;
use super::json::{JsonHead, Oddity, is_json_array, read_json_head};
use super::plan::{ScanFile, ScanPlan, TextFormat};
use super::schema::parse_schema;
use super::spec::{OnBadRow, SourceFormat, SourceSpec};
use super::table::TextTable;
use crate::error::{PlanError, TaskError};
use crate::storage::{FileEntry, Location, Storage};

/// What is read of the first file to find out types.
const SAMPLE_BYTES: u64 = 1 << 20;
/// What is read of every other file to find out its columns.
const HEAD_BYTES: u64 = 64 << 10;
/// What is read at most of a file until a record is whole.
const MAX_HEAD_BYTES: u64 = 16 << 20;
/// Files of JSON lines that are looked at to find out columns.
const MAX_SAMPLED_FILES: usize = 256;
/// Files whose heads are read at once.
const HEADS_AT_ONCE: usize = 32;

/// A source whose files have been looked at.
#[derive(Debug, Clone)]
pub struct OpenedSource {
    /// Its rows.
    pub table: Arc<dyn TableProvider>,
    /// The size of its files.
    pub bytes: u64,
    /// Its reader is ours and counts what it reads. DataFusion's readers, of Parquet and Arrow, do not.
    pub counts_itself: bool,
}

/// The table of `spec`'s files as they are now. What is wrong with the spec, a path or the files is an error here, before
/// anything runs.
pub async fn open_source(
    spec: &SourceSpec,
    storage: &Arc<Storage>,
    context: &SessionContext,
) -> Result<OpenedSource, PlanError> {
    spec.validate()?;
    let declared = spec.schema.as_deref().map(parse_schema).transpose().map_err(|error| in_source(spec, error))?;
    let mut found = Vec::new();
    for path in spec.path.iter() {
        let location = storage.resolve(path, &spec.base_dir)?;
        let files = storage.list(&location).await?;
        found.push((location, files));
    }
    let locations: Vec<Location> = found.iter().map(|(location, _)| location.clone()).collect();
    let (format, files) = spec.select(found)?;
    if files.iter().all(|file| file.size == 0) {
        return Err(spec.invalid(&format!("the input is empty: {}", files[0]), ""));
    }
    let files: Vec<FileEntry> = files.into_iter().filter(|file| file.size > 0).collect();
    let bytes = files.iter().map(|file| file.size).sum();
    let folders = FolderColumns::of(&files, &locations);
    if !format.is_text() {
        let table = open_file_table(spec, format, &files, folders, declared, storage, context).await?;
        return Ok(OpenedSource { table, bytes, counts_itself: false });
    }
    let plan = match format {
        SourceFormat::Csv | SourceFormat::Tsv => plan_csv(spec, format, files, folders, declared, storage).await?,
        _ => plan_json(spec, format, files, folders, declared, storage).await?,
    };
    let table = Arc::new(TextTable::new(plan));
    Ok(OpenedSource { table, bytes, counts_itself: true })
}

async fn plan_csv(
    spec: &SourceSpec,
    format: SourceFormat,
    files: Vec<FileEntry>,
    folders: FolderColumns,
    declared: Option<Schema>,
    storage: &Storage,
) -> Result<ScanPlan, PlanError> {
    let dialect = Dialect { delimiter: spec.delimiter_byte(format)?, quote: spec.quote_byte()? };
    let header = spec.header.unwrap_or(true);
    // Without a header, all files are laid out alike and one sample says enough.
    let looked_at: Vec<&FileEntry> = files.iter().take(if header { files.len() } else { 1 }).collect();
    let parse = |bytes: &[u8], all| read_csv_head(bytes, all, dialect, header);
    let heads = heads(spec, &looked_at, storage, parse, |head| !matches!(head, Err(HeadError::TooLong))).await?;
    let heads: Vec<Option<CsvHead>> =
        files.iter().zip(heads).map(|(file, head)| csv_head(spec, file, head)).collect::<Result<_, _>>()?;
    let Some(first) = heads.iter().flatten().next() else {
        return Err(spec.invalid(&format!("the input is empty: {}", files[0]), ""));
    };
    let names = column_names(&first.first, header);
    let folders = folders.without(|name| header && layout_of(&names, [name].into_iter()).is_ok());
    let schema = match declared {
        Some(schema) => schema,
        None => schema_of(&names.into_iter().zip(first.kinds.iter().cloned()).collect::<Vec<_>>()),
    };
    let columns = folders.join(spec, &settled(spec, schema), &files)?;
    let schema = columns.of_files();
    let row_bytes = first.row_bytes();
    let mut layouts: Vec<CsvLayout> = Vec::new();
    let mut scan_files = Vec::with_capacity(files.len());
    for (index, entry) in files.into_iter().enumerate() {
        let layout = match heads.get(index).filter(|_| header) {
            Some(None) => continue,
            Some(Some(head)) => csv_layout(spec, &entry, head, &schema)?,
            None => positional_layout(spec, &entry, first, &schema)?,
        };
        let place = layouts.iter().position(|known| *known == layout).unwrap_or_else(|| {
            layouts.push(layout);
            layouts.len() - 1
        });
        let (compression, folder_values) = (spec.compression_of(&entry), columns.folder_values(index));
        scan_files.push(ScanFile { entry, compression, layout: place as u32, is_array: false, folder_values });
    }
    let format = TextFormat::Csv { dialect, header, layouts };
    Ok(scan_plan(spec, columns, format, scan_files, row_bytes))
}

/// The head of a file; none when it has no record.
fn csv_head(
    spec: &SourceSpec,
    file: &FileEntry,
    head: Result<CsvHead, HeadError>,
) -> Result<Option<CsvHead>, PlanError> {
    match head {
        Ok(head) => Ok(Some(head)),
        Err(HeadError::Empty) => Ok(None),
        Err(HeadError::TooLong) => {
            Err(spec.invalid(&format!("the first record does not end: {file}:1"), "check delimiter and quote"))
        }
        Err(HeadError::Encoding) => {
            Err(spec.invalid(&format!("the first record is not UTF-8: {file}:1"), "convert the file to UTF-8"))
        }
        Err(HeadError::LineEnds) => Err(spec.invalid(
            &format!("its lines end in CR alone, and not in LF or CRLF: {file}:1"),
            "convert the line ends, for example with tr '\\r' '\\n'",
        )),
    }
}

fn csv_layout(spec: &SourceSpec, file: &FileEntry, head: &CsvHead, schema: &Schema) -> Result<CsvLayout, PlanError> {
    let names = column_names(&head.first, true);
    let columns = schema.fields().iter().map(|field| field.name().as_str());
    layout_of(&names, columns).map_err(|missing| {
        let nearest = nearest(missing, &names).unwrap_or_default();
        spec.invalid(
            &format!("column `{missing}` is not in the header: {file}"),
            &format!("did you mean `{nearest}`? set header = false if the file has no header"),
        )
    })
}

fn positional_layout(
    spec: &SourceSpec,
    file: &FileEntry,
    head: &CsvHead,
    schema: &Schema,
) -> Result<CsvLayout, PlanError> {
    let (declared, found) = (schema.fields().len(), head.first.len());
    if declared != found {
        let what = format!("the schema has {declared} columns and the first record {found}: {file}:1");
        return Err(spec.invalid(&what, "without a header, name every column in order"));
    }
    Ok(CsvLayout { fields: found as u32, columns: (0..found as u32).collect() })
}

async fn plan_json(
    spec: &SourceSpec,
    format: SourceFormat,
    files: Vec<FileEntry>,
    folders: FolderColumns,
    declared: Option<Schema>,
    storage: &Storage,
) -> Result<ScanPlan, PlanError> {
    // Each .json file is lines or an array. All others are lines, so that of many files some are enough.
    let step = if format == SourceFormat::Json { 1 } else { files.len().div_ceil(MAX_SAMPLED_FILES) };
    let looked_at: Vec<&FileEntry> = files.iter().step_by(step).collect();
    let parse = |bytes: &[u8], all| {
        let is_array = format == SourceFormat::Json && is_json_array(bytes);
        (is_array, read_json_head(bytes, all, is_array))
    };
    let (arrays, heads): (Vec<bool>, Vec<JsonHead>) =
        heads(spec, &looked_at, storage, parse, |(_, head)| head.objects > 0).await?.into_iter().unzip();
    let folders = folders.without(|name| heads[0].columns.iter().any(|(known, _)| known == name));
    let mut sample = heads.into_iter().fold(JsonHead::default(), JsonHead::and);
    sample.columns.retain(|(name, _)| !folders.give(name));
    let schema = match declared {
        Some(schema) => schema,
        None if sample.columns.is_empty() => return Err(no_columns(spec, &files[0], sample.oddity)),
        None => schema_of(&sample.columns),
    };
    let columns = folders.join(spec, &settled(spec, schema), &files)?;
    if spec.schema.is_some() {
        check_declared(spec, &columns.of_files(), &sample, &files[0])?;
    }
    let scan_file = |(index, entry): (usize, FileEntry)| {
        let (compression, folder_values) = (spec.compression_of(&entry), columns.folder_values(index));
        ScanFile { entry, compression, layout: 0, is_array: arrays.get(index) == Some(&true), folder_values }
    };
    let scan_files = files.into_iter().enumerate().map(scan_file).collect();
    Ok(scan_plan(spec, columns, TextFormat::Json, scan_files, sample.row_bytes()))
}

/// The error that the first objects of a source, whose first file is `file`, say nothing.
fn no_columns(spec: &SourceSpec, file: &FileEntry, oddity: Option<Oddity>) -> PlanError {
    let (what, help) = match oddity {
        Some(Oddity::EmptyArray) => ("the input is an empty array", "add a schema"),
        Some(Oddity::SeveralLines) => {
            ("an object goes over several lines", "write one object per line, as jq -c does, or an array of objects")
        }
        None => ("there is no object to learn columns from", "add a schema"),
    };
    spec.invalid(&format!("{what}: {file}"), help)
}

/// Checks that none of the `declared` columns is a key of the sample, misspelt. Others may be missing: objects need not have all keys.
fn check_declared(spec: &SourceSpec, declared: &Schema, sample: &JsonHead, first: &FileEntry) -> Result<(), PlanError> {
    let keys = sample.columns.iter().map(|(name, _)| name);
    let others: Vec<String> = keys.clone().filter(|name| declared.index_of(name).is_err()).cloned().collect();
    for name in declared.fields().iter().map(|field| field.name()) {
        if let Some(other) = misspelt(name, &others).filter(|_| !keys.clone().any(|key| key == name)) {
            let what = format!("column `{name}` is in no object of the sample: {first}");
            return Err(spec.invalid(&what, &format!("did you mean `{other}`?")));
        }
    }
    Ok(())
}

fn scan_plan(
    spec: &SourceSpec,
    columns: Columns,
    format: TextFormat,
    files: Vec<ScanFile>,
    row_bytes: u32,
) -> ScanPlan {
    ScanPlan {
        source: spec.name.clone(),
        folder_columns: columns.folder_places().map(|place| place as u32).collect(),
        schema: Arc::new(columns.table),
        format,
        files,
        on_bad_row: spec.bad_row_policy(),
        rejects: spec.rejects.clone(),
        row_bytes,
    }
}

/// The schema of a source: where bad rows are kept, any column may be null.
fn settled(spec: &SourceSpec, schema: Schema) -> Schema {
    if spec.bad_row_policy() != OnBadRow::Null {
        return schema;
    }
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Schema::new(fields.collect::<Vec<Field>>())
}

/// What `parse` makes of the heads of `files`, in order: of a sample of the first, of the others enough for a header, and of
/// more, up to a limit, where that does not give what `is_enough`. It is told whether a head is all of the file.
async fn heads<T>(
    spec: &SourceSpec,
    files: &[&FileEntry],
    storage: &Storage,
    parse: impl Fn(&[u8], bool) -> T,
    is_enough: impl Fn(&T) -> bool,
) -> Result<Vec<T>, PlanError> {
    let read = |file: &FileEntry, bytes| -> Result<_, PlanError> {
        Ok(read_head(file.open_store(storage)?, file.clone(), spec.compression_of(file), bytes))
    };
    let wanted = |index| if index == 0 { SAMPLE_BYTES } else { HEAD_BYTES };
    let reads = files.iter().enumerate().map(|(index, file)| read(file, wanted(index)));
    let mut reads = stream::iter(reads.collect::<Result<Vec<_>, _>>()?).buffered(HEADS_AT_ONCE);
    let mut heads = Vec::with_capacity(files.len());
    while let Some((bytes, mut all)) = reads.try_next().await.map_err(unreadable)? {
        let (file, mut wanted) = (files[heads.len()], wanted(heads.len()));
        let mut head = parse(&bytes, all);
        while !is_enough(&head) && !all && wanted < MAX_HEAD_BYTES {
            wanted = MAX_HEAD_BYTES.min(4 * wanted);
            let (bytes, is_all) = read(file, wanted)?.await.map_err(unreadable)?;
            all = is_all;
            head = parse(&bytes, all);
        }
        heads.push(head);
    }
    Ok(heads)
}

fn unreadable(error: TaskError) -> PlanError {
    PlanError::Storage(error.to_string())
}

fn in_source(spec: &SourceSpec, error: PlanError) -> PlanError {
    match error {
        PlanError::Invalid { message, help } => {
            PlanError::Invalid { message: format!("source `{}`: {message}", spec.name), help }
        }
        other => other,
    }
}
