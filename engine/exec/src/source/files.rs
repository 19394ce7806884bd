//! Parquet and Arrow files, which DataFusion's own readers read: pruned by statistics, split by row groups.
//!
//! Which files those are is decided once, when the source is opened; nothing is listed again for a query.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNode;
use datafusion::common::{ColumnStatistics, DFSchema, ScalarValue, Statistics, project_schema};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::listing::helpers::expr_applicable_for_cols;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::SessionContext;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use url::Url;

use super::alike::{columns_of_all, of_other_types};
use super::csv::nearest;
use super::folders::{FolderColumns, folder_value};
use super::spec::{SourceFormat, SourceSpec};
use crate::error::PlanError;
use crate::storage::{FileEntry, Storage};

/// The table of `files`, with the columns that their folders give.
pub(crate) async fn open_file_table(
    spec: &SourceSpec,
    format: SourceFormat,
    files: &[FileEntry],
    folders: FolderColumns,
    declared: Option<Schema>,
    storage: &Arc<Storage>,
    context: &SessionContext,
) -> Result<Arc<dyn TableProvider>, PlanError> {
    let root = root_of(spec, files)?;
    let store = storage.store(&root)?;
    context.runtime_env().register_object_store(&root, store.clone());
    let state = context.state();
    let format_of_files: Arc<dyn FileFormat> = match format {
        SourceFormat::Parquet => Arc::new(ParquetFormat::default().with_options(state.default_table_options().parquet)),
        _ => Arc::new(ArrowFormat),
    };
    let schemas = schemas_of(spec, format, format_of_files.as_ref(), &state, &store, files).await?;
    let (schema, folders) = match declared {
        Some(schema) => (Arc::new(schema), folders),
        None => {
            let found = Arc::new(columns_of_all(spec, files, &schemas)?);
            let folders = folders.without(|name| found.index_of(name).is_ok());
            (found, folders)
        }
    };
    let columns = folders.join(spec, &schema, files)?;
    let of_files = Arc::new(columns.of_files().with_metadata(schema.metadata().clone()));
    if spec.schema.is_some() {
        check_declared(spec, &of_files, files, &schemas)?;
    }
    if format == SourceFormat::Arrow {
        check_places(spec, &of_files, files, &schemas)?;
    }
    let metas: Vec<ObjectMeta> = files.iter().map(FileEntry::object_meta).collect();
    let casts =
        metas.iter().zip(&schemas).map(|(meta, schema)| (meta.location.clone(), of_other_types(&of_files, schema)));
    let fields: Vec<FieldRef> = columns.folder_places().map(|place| columns.table.fields()[place].clone()).collect();
    let values = (0..files.len()).map(|index| columns.folder_values(index)).collect::<Vec<_>>();
    Ok(Arc::new(FileTable {
        format: format_of_files,
        root: ObjectStoreUrl::parse(&root)?,
        values: values_of(&fields, &values)?,
        casts: casts.filter(|(_, places)| !places.is_empty()).collect(),
        schema: TableSchema::builder(of_files).with_table_partition_cols(fields).build(),
        files: metas,
    }))
}

/// The columns of each of `files`.
async fn schemas_of(
    spec: &SourceSpec,
    format: SourceFormat,
    reader: &dyn FileFormat,
    state: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    files: &[FileEntry],
) -> Result<Vec<SchemaRef>, PlanError> {
    let look_at = |index: usize| async move {
        let found = reader.infer_schema(state, store, &[files[index].object_meta()]).await;
        found.map_err(|error| unreadable(spec, format, &files[index], &error))
    };
    let at_once = state.config_options().execution.meta_fetch_concurrency.get();
    stream::iter((0..files.len()).map(look_at)).buffered(at_once).try_collect().await
}

/// Checks that each of the `declared` columns is in some file.
fn check_declared(
    spec: &SourceSpec,
    declared: &Schema,
    files: &[FileEntry],
    schemas: &[SchemaRef],
) -> Result<(), PlanError> {
    let is_known = |name: &str| schemas.iter().any(|schema| schema.index_of(name).is_ok());
    let Some(missing) = declared.fields().iter().find(|field| !is_known(field.name())) else { return Ok(()) };
    let known: Vec<String> =
        schemas.iter().flat_map(|schema| schema.fields()).map(|field| field.name().clone()).collect();
    let nearest = nearest(missing.name(), &known).unwrap_or_default();
    let place = if files.len() == 1 { "the file" } else { "any file" };
    let what = format!("column `{}` is not in {place}: {}", missing.name(), files[0]);
    Err(spec.invalid(&what, &format!("did you mean `{nearest}`?")))
}

/// Checks that all files have the columns of the `table`, in their places: Arrow files are read by place.
fn check_places(
    spec: &SourceSpec,
    table: &Schema,
    files: &[FileEntry],
    schemas: &[SchemaRef],
) -> Result<(), PlanError> {
    let layout = |schema: &Schema| -> Vec<String> {
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    };
    let expected = layout(table);
    let Some(other) = schemas.iter().position(|schema| layout(schema) != expected) else { return Ok(()) };
    let of_file = layout(&schemas[other]).join(", ");
    let what = format!("{} has the columns {of_file}, not {}", files[other], expected.join(", "));
    Err(spec.invalid(
        &what,
        "Arrow files are read as they are: declare no schema, and make a source of those that are alike",
    ))
}

fn unreadable(spec: &SourceSpec, format: SourceFormat, file: &FileEntry, error: &DataFusionError) -> PlanError {
    let cause = error.find_root().strip_backtrace();
    spec.invalid(&format!("not a readable {} file: {file}: {cause}", format.name()), "")
}

/// The one store that holds `files`.
fn root_of(spec: &SourceSpec, files: &[FileEntry]) -> Result<Url, PlanError> {
    let root = &files[0].root;
    if let Some(other) = files.iter().find(|file| file.root != *root) {
        let what = format!("its files are in two stores: {} and {other}", files[0]);
        return Err(spec.invalid(&what, "make a source of each, and UNION ALL them in a step"));
    }
    Url::parse(root).map_err(|error| PlanError::invalid(format!("not a storage URL: {root}: {error}")))
}

/// What folders say, a row for each file.
fn values_of(fields: &[FieldRef], rows: &[Vec<Option<String>>]) -> Result<RecordBatch, PlanError> {
    let column = |(place, field): (usize, &FieldRef)| -> Result<ArrayRef, PlanError> {
        let values = rows.iter().map(|row| folder_value(field, row[place].as_deref()).map_err(PlanError::invalid));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let values: Vec<&dyn Array> = values.iter().map(AsRef::as_ref).collect();
        concat(&values).map_err(|error| PlanError::invalid(error.to_string()))
    };
    let columns = fields.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields.to_vec())), columns, &options);
    batch.map_err(|error| PlanError::invalid(error.to_string()))
}

/// Files of one store as a table.
#[derive(Debug)]
struct FileTable {
    format: Arc<dyn FileFormat>,
    root: ObjectStoreUrl,
    /// The columns of the files, then those of their folders.
    schema: TableSchema,
    files: Vec<ObjectMeta>,
    /// The places of the columns that are of another type in a file, where there are any.
    casts: HashMap<Path, Vec<usize>>,
    /// The columns of the folders, a row for each file.
    values: RecordBatch,
}

impl FileTable {
    /// Whether what folders say decides `filter`.
    fn is_about_folders(&self, filter: &Expr) -> bool {
        let fields = self.values.schema_ref().fields();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let looks_outside = |expression: &Expr| {
            let outside = matches!(
                expression,
                Expr::ScalarSubquery(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
            );
            Ok(outside)
        };
        !names.is_empty() && expr_applicable_for_cols(&names, filter) && !filter.exists(looks_outside).unwrap_or(true)
    }

    /// The files whose folders are as `filters` ask.
    fn matching(&self, state: &dyn Session, filters: Vec<Expr>) -> Result<Vec<PartitionedFile>> {
        let all: Vec<usize> = (0..self.files.len()).collect();
        let wanted = match conjunction(filters) {
            None => all,
            Some(filter) => {
                let schema = DFSchema::try_from(self.values.schema())?;
                let holds = state.create_physical_expr(filter, &schema)?.evaluate(&self.values)?;
                let holds = holds.into_array(self.files.len())?;
                let holds = holds.as_boolean();
                // Null is not true.
                all.into_iter().filter(|&index| holds.is_valid(index) && holds.value(index)).collect()
            }
        };
        let file = |index: usize| {
            let values = self.values.columns().iter().map(|column| ScalarValue::try_from_array(column, index));
            let file = PartitionedFile::new_from_meta(self.files[index].clone());
            Ok(file.with_partition_values(values.collect::<Result<_>>()?))
        };
        wanted.into_iter().map(file).collect()
    }

    /// `files` with their statistics, up to those that have more than `limit` rows.
    async fn looked_at(
        &self,
        state: &dyn Session,
        files: Vec<PartitionedFile>,
        limit: Option<usize>,
    ) -> Result<Vec<PartitionedFile>> {
        let store = state.runtime_env().object_store(&self.root)?;
        let at_once = state.config_options().execution.meta_fetch_concurrency.get();
        let look_at = |mut file: PartitionedFile| {
            let store = store.clone();
            async move {
                let schema = self.schema.file_schema().clone();
                let mut found = self.format.infer_stats(state, &store, schema, &file.object_meta).await?;
                for &place in self.casts.get(&file.object_meta.location).into_iter().flatten() {
                    // What is written there is of the type in the file.
                    found.column_statistics[place] = ColumnStatistics::new_unknown();
                }
                file.statistics = Some(Arc::new(with_folders(found, &file.partition_values)));
                Ok::<_, DataFusionError>(file)
            }
        };
        let mut looks = stream::iter(files.into_iter().map(look_at)).buffered(at_once);
        let (mut found, mut rows) = (Vec::new(), Precision::Exact(0));
        while let Some(file) = looks.next().await.transpose()? {
            let more = file.statistics.as_ref().map_or(Precision::Absent, |statistics| statistics.num_rows);
            rows = rows.add(&more);
            found.push(file);
            if let (Some(limit), Precision::Exact(rows)) = (limit, rows)
                && rows > limit
            {
                break;
            }
        }
        Ok(found)
    }
}

/// Files apart whose folders say null of other columns. Batches of them have other schemas, and operators of DataFusion take
/// that of a partition's first batch for that of all.
fn by_nulls(files: Vec<PartitionedFile>) -> Vec<Vec<PartitionedFile>> {
    let mut apart: BTreeMap<Vec<bool>, Vec<PartitionedFile>> = BTreeMap::new();
    for file in files {
        apart.entry(file.partition_values.iter().map(ScalarValue::is_null).collect()).or_default().push(file);
    }
    apart.into_values().collect()
}

/// The statistics of a file with those of its folders' columns, which have one value in all rows, if there are any.
fn with_folders(mut statistics: Statistics, values: &[ScalarValue]) -> Statistics {
    let rows = statistics.num_rows;
    let of_value = |value: &ScalarValue| {
        let byte_size = value
            .data_type()
            .primitive_width()
            .map_or(Precision::Absent, |width| rows.multiply(&Precision::Exact(width)));
        if value.is_null() || !matches!(rows, Precision::Exact(1..)) {
            let null_count = if value.is_null() { rows } else { Precision::Exact(0) };
            return ColumnStatistics { null_count, byte_size, ..ColumnStatistics::new_unknown() };
        }
        ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: Precision::Exact(value.clone()),
            max_value: Precision::Exact(value.clone()),
            distinct_count: Precision::Exact(1),
            byte_size,
            ..ColumnStatistics::new_unknown()
        }
    };
    statistics.column_statistics.extend(values.iter().map(of_value));
    statistics
}

#[async_trait]
impl TableProvider for FileTable {
    fn schema(&self) -> SchemaRef {
        self.schema.table_schema().clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (of_folders, of_rows): (Vec<Expr>, Vec<Expr>) =
            filters.iter().cloned().partition(|filter| self.is_about_folders(filter));
        let mut files = self.matching(state, of_folders)?;
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema(), projection)?)));
        }
        let mut is_all = true;
        if state.config().collect_statistics() {
            let count = files.len();
            files = self.looked_at(state, files, limit.filter(|_| of_rows.is_empty())).await?;
            is_all = files.len() == count;
        }
        let merge = |files: &[PartitionedFile]| {
            let statistics = files.iter().filter_map(|file| file.statistics.as_deref());
            Statistics::try_merge_iter(statistics, self.schema.table_schema())
        };
        let statistics = merge(&files)?;
        let partitions = state.config().target_partitions();
        let groups = by_nulls(files).into_iter().flat_map(|files| FileGroup::new(files).split_files(partitions));
        let groups = groups.map(|group| {
            let statistics = merge(group.files())?;
            Ok(group.with_statistics(Arc::new(statistics)))
        });
        let config = FileScanConfigBuilder::new(self.root.clone(), self.format.file_source(self.schema.clone()))
            .with_file_groups(groups.collect::<Result<_>>()?)
            .with_statistics(if is_all { statistics } else { statistics.to_inexact() })
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        self.format.create_physical_plan(state, config).await
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match self.is_about_folders(filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(support).collect())
    }
}

/// Has `storage` hold the readers of `plan` that are not ours to the files they were planned with.
pub fn pin_file_scans(plan: &Arc<dyn ExecutionPlan>, storage: &Storage) {
    if let Some(scan) = plan.downcast_ref::<DataSourceExec>()
        && let Some(config) = scan.data_source().downcast_ref::<FileScanConfig>()
    {
        let root = config.object_store_url.as_str();
        let files = config.file_groups.iter().flat_map(|group| group.files());
        storage.pin(files.map(|file| FileEntry {
            root: root.to_owned(),
            path: file.object_meta.location.to_string(),
            size: file.object_meta.size,
            etag: file.object_meta.e_tag.clone(),
            modified_ms: file.object_meta.last_modified.timestamp_millis(),
        }));
    }
    for child in plan.children() {
        pin_file_scans(child, storage);
    }
}

/// A scan of files with at most `rows` rows in a batch; none if `plan` is no such scan.
pub(crate) fn scan_of_batches(plan: &Arc<dyn ExecutionPlan>, rows: usize) -> Option<Arc<dyn ExecutionPlan>> {
    let config = plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()?;
    let config = FileScanConfigBuilder::from(config.clone()).with_batch_size(Some(rows)).build();
    Some(DataSourceExec::from_data_source(config))
}
