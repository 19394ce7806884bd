//! The eight tables of TPC-H, made by `tpchgen` in as many parts as there are pieces.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use tpchgen::generators::{
    CustomerGenerator, LineItemGenerator, NationGenerator, OrderGenerator, PartGenerator, PartSuppGenerator,
    RegionGenerator, SupplierGenerator,
};
use tpchgen_arrow::{
    CustomerArrow, LineItemArrow, NationArrow, OrderArrow, PartArrow, PartSuppArrow, RegionArrow, SupplierArrow,
};

use super::table::Table;
use super::{Format, GenerateError};

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>>>;

/// One table at one scale.
pub(super) struct TpchTable {
    name: &'static str,
    scale: f64,
    rows: u64,
    schema: SchemaRef,
    make: fn(f64, i32, i32) -> Batches,
}

impl std::fmt::Debug for TpchTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TpchTable").field("name", &self.name).field("scale", &self.scale).finish_non_exhaustive()
    }
}

/// All tables, the small ones first.
pub(super) fn tables(scale: f64) -> Result<Vec<TpchTable>, GenerateError> {
    // Rows at scale 1, and what makes one part of the table.
    let tables: [(&'static str, f64, fn(f64, i32, i32) -> Batches); 8] = [
        ("region", 0.0, |s, part, parts| Box::new(RegionArrow::new(RegionGenerator::new(s, part, parts)))),
        ("nation", 0.0, |s, part, parts| Box::new(NationArrow::new(NationGenerator::new(s, part, parts)))),
        ("supplier", 1e4, |s, part, parts| Box::new(SupplierArrow::new(SupplierGenerator::new(s, part, parts)))),
        ("customer", 1.5e5, |s, part, parts| Box::new(CustomerArrow::new(CustomerGenerator::new(s, part, parts)))),
        ("part", 2e5, |s, part, parts| Box::new(PartArrow::new(PartGenerator::new(s, part, parts)))),
        ("partsupp", 8e5, |s, part, parts| Box::new(PartSuppArrow::new(PartSuppGenerator::new(s, part, parts)))),
        ("orders", 1.5e6, |s, part, parts| Box::new(OrderArrow::new(OrderGenerator::new(s, part, parts)))),
        ("lineitem", 6e6, |s, part, parts| Box::new(LineItemArrow::new(LineItemGenerator::new(s, part, parts)))),
    ];
    tables.into_iter().map(|(name, rows, make)| TpchTable::new(name, scale, rows, make)).collect()
}

impl TpchTable {
    fn new(
        name: &'static str,
        scale: f64,
        rows_at_1: f64,
        make: fn(f64, i32, i32) -> Batches,
    ) -> Result<Self, GenerateError> {
        let first = make(scale, 1, 1).next().transpose()?;
        let schema = first.map(|batch| batch.schema()).ok_or(GenerateError::Scale(scale))?;
        let rows = if rows_at_1 == 0.0 { 25.0 } else { (rows_at_1 * scale).max(1.0) };
        Ok(Self { name, scale, rows: rows as u64, schema, make })
    }
}

impl Table for TpchTable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn batches(&self, piece: u64) -> Result<Vec<RecordBatch>, GenerateError> {
        let (part, parts) = (piece as i32 + 1, self.pieces() as i32);
        Ok((self.make)(self.scale, part, parts).collect::<Result<_, _>>()?)
    }

    fn text(&self, piece: u64, format: Format, out: &mut Vec<u8>) -> Result<u64, GenerateError> {
        let batches = self.batches(piece)?;
        match format {
            Format::Jsonl => {
                let mut writer = arrow::json::LineDelimitedWriter::new(out);
                for batch in &batches {
                    writer.write(batch)?;
                }
                writer.finish()?;
            }
            Format::Csv | Format::Parquet => {
                let mut writer = arrow::csv::WriterBuilder::new().with_header(false).build(out);
                for batch in &batches {
                    writer.write(batch)?;
                }
            }
        }
        Ok(batches.iter().map(|batch| batch.num_rows() as u64).sum())
    }
}
