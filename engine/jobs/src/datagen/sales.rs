//! `sales`: product, region, quantity, price.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::rng::RowRng;
use super::table::{Table, rows_of};
use super::text::{RowWriter, Scratch};
use super::{Format, GenerateError};

const STREAM: u64 = 1;
const PRODUCTS: u64 = 100;
const REGIONS: u64 = 10;

/// The rows that demos and golden tests use.
const DEMO: [(&str, &str, i32, i64); 9] = [
    ("product_A", "region_1", 100, 1050),
    ("product_A", "region_2", 150, 1050),
    ("product_A", "region_1", 200, 1050),
    ("product_B", "region_1", 80, 2500),
    ("product_B", "region_2", 120, 2500),
    ("product_B", "region_1", 90, 2500),
    ("product_C", "region_1", 300, 500),
    ("product_C", "region_2", 250, 500),
    ("product_C", "region_1", 280, 500),
];

/// Sales of a hundred products at fixed prices, or the nine demo rows over and over.
pub(super) struct Sales {
    pub(super) seed: u64,
    pub(super) rows: u64,
    pub(super) demo: bool,
}

struct Sale {
    product: String,
    region: String,
    quantity: i32,
    price_cents: i64,
}

impl Sales {
    fn sale(&self, row: u64, scratch: &mut Scratch) -> Sale {
        if self.demo {
            let (product, region, quantity, price_cents) = DEMO[(row % DEMO.len() as u64) as usize];
            return Sale { product: product.to_owned(), region: region.to_owned(), quantity, price_cents };
        }
        let mut rng = RowRng::new(self.seed, STREAM, row);
        // The smaller of two draws makes some products sell more than others.
        let product = rng.below(PRODUCTS).min(rng.below(PRODUCTS)) + 1;
        let price_cents = 50 + RowRng::new(self.seed, STREAM + 100, product).below(10_000) as i64;
        Sale {
            product: scratch.padded("product_", product, 3).to_owned(),
            region: scratch.padded("region_", rng.below(REGIONS) + 1, 1).to_owned(),
            quantity: rng.below(500) as i32 + 1,
            price_cents,
        }
    }
}

impl Table for Sales {
    fn name(&self) -> &'static str {
        "sales"
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("product", DataType::Utf8, false),
            Field::new("region", DataType::Utf8, false),
            Field::new("quantity", DataType::Int32, false),
            Field::new("price", DataType::Float64, false),
        ]))
    }

    fn batches(&self, piece: u64) -> Result<Vec<RecordBatch>, GenerateError> {
        let mut scratch = Scratch::default();
        let sales: Vec<Sale> = rows_of(piece, self.rows).map(|row| self.sale(row, &mut scratch)).collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(sales.iter().map(|sale| &sale.product))),
            Arc::new(StringArray::from_iter_values(sales.iter().map(|sale| &sale.region))),
            Arc::new(Int32Array::from_iter_values(sales.iter().map(|sale| sale.quantity))),
            Arc::new(Float64Array::from_iter_values(sales.iter().map(|sale| sale.price_cents as f64 / 100.0))),
        ];
        Ok(vec![RecordBatch::try_new(self.schema(), columns)?])
    }

    fn text(&self, piece: u64, format: Format, out: &mut Vec<u8>) -> Result<u64, GenerateError> {
        let rows = rows_of(piece, self.rows);
        let count = rows.end - rows.start;
        let mut scratch = Scratch::default();
        let mut writer = RowWriter::new(out, format);
        for row in rows {
            let sale = self.sale(row, &mut scratch);
            writer.text("product", &sale.product);
            writer.text("region", &sale.region);
            writer.number("quantity", scratch.integer(sale.quantity.into()));
            writer.number("price", scratch.cents(sale.price_cents));
            writer.end();
        }
        Ok(count)
    }
}
