//! Columns that a source's folders give: `day=2024-01-01/part-0.csv` has a column `day`.
//!
//! Only folders below the one folder that a source names count, and only if all of its files are below folders of the same
//! columns. A value is percent-decoded text, read as the column's type; Hive's name for null is null.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use percent_encoding::percent_decode_str;

use super::columns::Column;
use super::infer::Kind;
use super::rows::{NO_CELL, text_cell};
use super::spec::SourceSpec;
use crate::error::PlanError;
use crate::sink::NULL_FOLDER;
use crate::storage::{FileEntry, Location};

/// The columns of folders and their value for each file of a source.
#[derive(Debug, Default)]
pub(super) struct FolderColumns(Vec<FolderColumn>);

#[derive(Debug)]
struct FolderColumn {
    name: String,
    /// For each file; none is null.
    values: Vec<Option<String>>,
}

impl FolderColumns {
    /// The columns that folders between the only one of `locations` and `files` give.
    pub(super) fn of(files: &[FileEntry], locations: &[Location]) -> Self {
        match locations {
            [location] if !location.is_pattern() => Self::below(files, location).unwrap_or_default(),
            _ => Self::default(),
        }
    }

    fn below(files: &[FileEntry], location: &Location) -> Option<Self> {
        let mut columns: Vec<FolderColumn> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let below = file.path.strip_prefix(location.path().as_ref())?;
            let (folders, _) = below.rsplit_once('/')?;
            let pairs: Vec<(String, Option<String>)> =
                folders.split('/').filter(|folder| !folder.is_empty()).map(pair_of).collect::<Option<_>>()?;
            if index == 0 {
                columns.extend(pairs.iter().map(|(name, _)| FolderColumn { name: name.clone(), values: Vec::new() }));
            }
            let same = columns.len() == pairs.len() && columns.iter().zip(&pairs).all(|(c, (name, _))| c.name == *name);
            if !same {
                return None;
            }
            for (column, (_, value)) in columns.iter_mut().zip(pairs) {
                column.values.push(value);
            }
        }
        let is_first = |(place, column): (usize, &FolderColumn)| columns[..place].iter().all(|c| c.name != column.name);
        let differ = columns.iter().enumerate().all(is_first);
        differ.then_some(Self(columns))
    }

    /// Whether they give the column `name`.
    pub(super) fn give(&self, name: &str) -> bool {
        self.0.iter().any(|column| column.name == name)
    }

    /// Without the columns that the files have themselves.
    pub(super) fn without(mut self, is_in_files: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|column| !is_in_files(&column.name));
        self
    }

    /// The table of `files` with these columns: `schema` has those of the files, and may say type and place of a folder's.
    ///
    /// # Errors
    /// A folder whose value is not of the type that `schema` says.
    pub(super) fn join(self, spec: &SourceSpec, schema: &Schema, files: &[FileEntry]) -> Result<Columns, PlanError> {
        let mut fields: Vec<FieldRef> = schema.fields().to_vec();
        let mut folders = BTreeMap::new();
        for column in self.0 {
            let place = schema.index_of(&column.name).unwrap_or(fields.len());
            if place == fields.len() {
                fields.push(Field::new(&column.name, column.data_type(), true).into());
            }
            for (value, file) in column.values.iter().zip(files) {
                folder_value(&fields[place], value.as_deref()).map_err(|reason| {
                    let what = format!("column `{}` of the folders: {reason}: {file}", column.name);
                    spec.invalid(&what, "change the schema, or rename the folder")
                })?;
            }
            folders.insert(place, column.values);
        }
        Ok(Columns { table: Schema::new(fields), folders })
    }
}

/// The columns of a table, some of which folders give.
#[derive(Debug)]
pub(super) struct Columns {
    /// All of them.
    pub(super) table: Schema,
    /// Place in the table and values, one for each file, of those that folders give.
    folders: BTreeMap<usize, Vec<Option<String>>>,
}

impl Columns {
    /// The columns that are read from the files.
    pub(super) fn of_files(&self) -> Schema {
        let fields = self.table.fields().iter().enumerate();
        let fields = fields.filter(|(place, _)| !self.folders.contains_key(place));
        Schema::new(fields.map(|(_, field)| field.clone()).collect::<Vec<_>>())
    }

    /// The places in the table of the columns that folders give, ascending.
    pub(super) fn folder_places(&self) -> impl Iterator<Item = usize> {
        self.folders.keys().copied()
    }

    /// What folders say of the file at `index`, in the order of [`Columns::folder_places`].
    pub(super) fn folder_values(&self, index: usize) -> Vec<Option<String>> {
        self.folders.values().map(|values| values[index].clone()).collect()
    }
}

impl FolderColumn {
    /// What all of its values are.
    fn data_type(&self) -> DataType {
        let kinds = self.values.iter().flatten().map(|value| match value.as_bytes() {
            bytes if bytes.is_empty() || bytes.trim_ascii() != bytes => Kind::Text,
            bytes => Kind::of_text(bytes),
        });
        match kinds.fold(Kind::Nothing, Kind::and) {
            Kind::Integer => DataType::Int64,
            Kind::Date => DataType::Date32,
            _ => DataType::Utf8View,
        }
    }
}

/// The column and the value that a folder's name says; none if it is not `column=value`.
fn pair_of(folder: &str) -> Option<(String, Option<String>)> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let (name, value) = folder.split_once('=').filter(|(name, _)| !name.is_empty())?;
    Some((decoded(name), (value != NULL_FOLDER).then(|| decoded(value))))
}

/// The one value of a folder's column as an array, or why it is not of the type of `field`.
pub(super) fn folder_value(field: &Field, text: Option<&str>) -> Result<ArrayRef, String> {
    let mut column = Column::new(field, 1).map_err(|error| error.to_string())?;
    let pushed = column.push(text.map_or(NO_CELL, text_cell));
    pushed.map_err(|fault| fault.reason(text.unwrap_or_default().as_bytes(), field.data_type()))?;
    let values = column.finish().map_err(|error| error.to_string())?;
    values.ok_or_else(|| format!("no value of type {}", field.data_type()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;
    use std::path::Path;

    use super::*;
    use crate::source::schema::parse_schema;
    use crate::storage::Storage;

    fn join(paths: &[&str], schema: &str) -> Result<Columns, PlanError> {
        let entry = |path: &&str| FileEntry {
            root: "file:///".into(),
            path: (*path).to_owned(),
            size: 1,
            etag: None,
            modified_ms: 0,
        };
        let files: Vec<FileEntry> = paths.iter().map(entry).collect();
        let location = Storage::new(Map::new()).resolve("/d", Path::new("/")).unwrap();
        FolderColumns::of(&files, &[location]).join(&SourceSpec::new("t", "/d"), &parse_schema(schema).unwrap(), &files)
    }

    fn shown(paths: &[&str]) -> Vec<String> {
        let table = join(paths, "x int").unwrap();
        let shown = table.folders.iter().map(|(&place, values)| {
            let values: Vec<_> = values.iter().map(|value| value.as_deref().unwrap_or("NULL")).collect();
            let field = table.table.field(place);
            format!("{} {}: {}", field.name(), field.data_type(), values.join(","))
        });
        shown.collect()
    }

    #[test]
    fn null_leaves_the_type_to_the_other_folders() {
        let null = format!("d/n={NULL_FOLDER}/a");
        assert_eq!(shown(&["d/n=1/a", &null, "d/n=-2/a"]), ["n Int64: 1,NULL,-2"]);
        let null = format!("d/day={NULL_FOLDER}/a");
        assert_eq!(shown(&[&null, "d/day=2024-01-01/a"]), ["day Date32: NULL,2024-01-01"]);
        assert_eq!(shown(&[&null]), ["day Utf8View: NULL"]);
        // A text of that very name is written so.
        let text = shown(&["d/n=%5F_HIVE_DEFAULT_PARTITION__/a", "d/n=/a"]);
        assert_eq!(text, [format!("n Utf8View: {NULL_FOLDER},")]);
    }

    #[test]
    fn names_and_values_are_decoded() {
        assert_eq!(shown(&["d/a%20b=x%2Fy/z=%C3%A9/f"]), ["a b Utf8View: x/y", "z Utf8View: é"]);
    }

    #[test]
    fn folders_that_differ_give_no_columns() {
        let differing =
            [["d/a=1/f", "d/f"], ["d/a=1/f", "d/b=1/f"], ["d/a=1/f", "d/a=1/b=2/f"], ["d/a=1/a=2/f", "d/a=1/a=2/g"]];
        for paths in differing {
            assert!(shown(&paths).is_empty(), "{paths:?}");
        }
        assert!(shown(&["d/x/f"]).is_empty() && shown(&["d/f"]).is_empty() && shown(&["d/=1/f"]).is_empty());
    }

    #[test]
    fn a_schema_says_type_and_place() {
        let table = join(&["d/n=1/m=2/f"], "a int, m string, b int").unwrap();
        let names = |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        assert_eq!((names(&table.table), names(&table.of_files())), (owned(&["a", "m", "b", "n"]), owned(&["a", "b"])));
        assert_eq!(table.table.field(1).data_type(), &DataType::Utf8View);
        assert_eq!(table.folder_places().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(table.folder_values(0), [Some("2".to_owned()), Some("1".to_owned())]);
    }

    #[test]
    fn a_value_of_another_type_is_named() {
        let error = join(&["d/n=1/f", "d/n=x/f"], "n int").unwrap_err().to_string();
        assert!(error.contains("`x` is not a valid int: /d/n=x/f"), "{error}");
        let null = format!("d/n={NULL_FOLDER}/f");
        let error = join(&[&null], "n int not null").unwrap_err().to_string();
        assert!(error.contains("null in a not null column"), "{error}");
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}
