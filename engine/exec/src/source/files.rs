//! Parquet and Arrow files, which DataFusion's own readers read: pruned by statistics, split by row groups.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::{ListingOptions, ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use url::Url;

use super::infer::Kind;
use super::spec::{SourceFormat, SourceSpec};
use crate::error::PlanError;
use crate::storage::{FileEntry, Location, Storage};

/// The table of `files`. Folders named `column=value` below a single folder give further columns.
pub(crate) async fn open_file_table(
    spec: &SourceSpec,
    format: SourceFormat,
    files: Vec<FileEntry>,
    locations: &[Location],
    declared: Option<Schema>,
    storage: &Arc<Storage>,
    context: &SessionContext,
) -> Result<Arc<dyn TableProvider>, PlanError> {
    for file in &files {
        let root = root_url(file)?;
        context.runtime_env().register_object_store(&root, storage.store(&root)?);
    }
    let state = context.state();
    let reader: Arc<dyn FileFormat> = match format {
        SourceFormat::Parquet => Arc::new(ParquetFormat::default().with_options(state.default_table_options().parquet)),
        _ => Arc::new(ArrowFormat),
    };
    let mut options = ListingOptions::new(reader).with_file_extension("");
    let mut paths = files.iter().map(file_url).collect::<Result<Vec<_>, _>>()?;
    if let [location] = locations
        && !location.is_pattern()
        && let Some(columns) = folder_columns(&files, location)
    {
        options = options.with_file_extension(format.name()).with_table_partition_cols(columns);
        paths = vec![folder_url(location)?];
    }
    let config = ListingTableConfig::new_with_multi_paths(paths).with_listing_options(options);
    let config = match declared {
        Some(schema) => config.with_schema(Arc::new(schema)),
        None => config.infer_schema(&state).await.map_err(|error| unreadable(spec, format, &files[0], &error))?,
    };
    Ok(Arc::new(ListingTable::try_new(config)?))
}

fn unreadable(
    spec: &SourceSpec,
    format: SourceFormat,
    file: &FileEntry,
    error: &datafusion::error::DataFusionError,
) -> PlanError {
    let cause = error.find_root().strip_backtrace();
    spec.invalid(&format!("not a readable {} file: {file}: {cause}", format.name()), "")
}

fn root_url(file: &FileEntry) -> Result<Url, PlanError> {
    Url::parse(&file.root).map_err(|error| PlanError::invalid(format!("not a storage URL: {}: {error}", file.root)))
}

fn file_url(file: &FileEntry) -> Result<ListingTableUrl, PlanError> {
    Ok(ListingTableUrl::try_new(with_path(root_url(file)?, &file.path), None)?)
}

fn folder_url(location: &Location) -> Result<ListingTableUrl, PlanError> {
    let mut url = with_path(location.root().clone(), location.path().as_ref());
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("");
    }
    Ok(ListingTableUrl::try_new(url, None)?)
}

/// `root` with `path`, whose characters are taken as they are.
fn with_path(mut root: Url, path: &str) -> Url {
    if let Ok(mut segments) = root.path_segments_mut() {
        segments.pop_if_empty().extend(path.split('/'));
    }
    root
}

/// The columns that folders below `location` name, if all files are below the same ones.
fn folder_columns(files: &[FileEntry], location: &Location) -> Option<Vec<(String, DataType)>> {
    let mut names: Option<Vec<String>> = None;
    let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
    for file in files {
        let below = file.path.strip_prefix(location.path().as_ref())?;
        let (folders, _) = below.rsplit_once('/')?;
        let pairs: Vec<(&str, &str)> =
            folders.split('/').filter(|folder| !folder.is_empty()).map(|f| f.split_once('=')).collect::<Option<_>>()?;
        let mine: Vec<String> = pairs.iter().map(|(name, _)| (*name).to_owned()).collect();
        if mine.is_empty() || names.get_or_insert_with(|| mine.clone()) != &mine {
            return None;
        }
        for (name, value) in pairs {
            let kind = kinds.entry(name.to_owned()).or_default();
            *kind = std::mem::take(kind).and(Kind::of_text(value.as_bytes()));
        }
    }
    let column_type = |name: &String| match kinds.get(name) {
        Some(Kind::Integer) => DataType::Int64,
        Some(Kind::Date) => DataType::Date32,
        _ => DataType::Utf8,
    };
    names.map(|names| names.into_iter().map(|name| (name.clone(), column_type(&name))).collect())
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
