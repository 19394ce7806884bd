//! `events`: shop events with the flaws that real ones have, and `products`, the dimension they refer to.
//!
//! Always there: a few events of unknown products, and countries and statuses in odd case or with spaces around. With
//! `--dirty F`, a fraction F of the rows has one flaw each, drawn evenly from [`Flaw`]: some rows cannot be read, some
//! have no key, some sell nothing, some repeat an event. A Parquet file has typed columns, so what cannot be read is
//! null there.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::rng::RowRng;
use super::table::{Table, rows_of};
use super::text::{RowWriter, Scratch};
use super::{Format, GenerateError};

const STREAM: u64 = 2;
const PRODUCT_STREAM: u64 = 3;
/// 2026-01-01T00:00:00Z.
const FIRST_DAY_MS: i64 = 1_767_225_600_000;
const DAY_MS: u64 = 86_400_000;
const DAYS: u64 = 30;
const USERS: u64 = 200_000;
const PRODUCTS: u64 = 1_000;
/// One event in so many is of a product that the catalogue does not have.
const UNKNOWN_PRODUCT_ONE_IN: u64 = 250;
/// One event in so many spells its country and status oddly.
const ODD_SPELLING_ONE_IN: u64 = 40;
/// How far back the event is that a repeated one repeats.
const REPEAT_DISTANCE: u64 = 5_000;

const CATEGORIES: [&str; 8] =
    ["books", "clothing", "electronics", "garden", "groceries", "sports", "toys, games", "tools"];
const COUNTRIES: [&str; 12] = ["AT", "BR", "CA", "DE", "ES", "FR", "GB", "IN", "JP", "NL", "PL", "US"];
const STATUSES: [&str; 4] = ["completed", "pending", "shipped", "cancelled"];

/// What can be wrong with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    BadQuantity,
    BadPrice,
    BadTime,
    TooFewFields,
    TooManyFields,
    NoEventId,
    NoUser,
    NoProduct,
    NoTime,
    NothingSold,
    NegativePrice,
    Repeated,
}

const FLAWS: [Flaw; 12] = [
    Flaw::BadQuantity,
    Flaw::BadPrice,
    Flaw::BadTime,
    Flaw::TooFewFields,
    Flaw::TooManyFields,
    Flaw::NoEventId,
    Flaw::NoUser,
    Flaw::NoProduct,
    Flaw::NoTime,
    Flaw::NothingSold,
    Flaw::NegativePrice,
    Flaw::Repeated,
];

/// The fact table.
pub(super) struct Events {
    pub(super) seed: u64,
    pub(super) rows: u64,
    /// Fraction of rows with a flaw.
    pub(super) dirty: f64,
}

struct Event {
    id: u64,
    time_ms: i64,
    user: u64,
    product: u64,
    quantity: i32,
    price_cents: i64,
    country: &'static str,
    status: &'static str,
    odd_spelling: bool,
    flaw: Option<Flaw>,
}

impl Events {
    fn event(&self, row: u64) -> Event {
        let mut rng = RowRng::new(self.seed, STREAM, row);
        let flaw = rng.chance(self.dirty).then(|| FLAWS[rng.below(FLAWS.len() as u64) as usize]);
        let known = rng.below(UNKNOWN_PRODUCT_ONE_IN) > 0;
        let product = rng.below(PRODUCTS) + if known { 1 } else { 90_000 };
        let list_price = list_price_cents(self.seed, product);
        let mut event = Event {
            id: row,
            time_ms: FIRST_DAY_MS + rng.below(DAYS * DAY_MS) as i64,
            user: rng.below(USERS) + 1,
            product,
            quantity: rng.below(5).min(rng.below(5)) as i32 + 1,
            // Up to a tenth below the list price.
            price_cents: list_price - rng.below(list_price as u64 / 10 + 1) as i64,
            country: COUNTRIES[rng.below(COUNTRIES.len() as u64) as usize],
            status: STATUSES[rng.below(STATUSES.len() as u64) as usize],
            odd_spelling: rng.below(ODD_SPELLING_ONE_IN) == 0,
            flaw,
        };
        match flaw {
            Some(Flaw::NothingSold) => event.quantity = -(rng.below(3) as i32),
            Some(Flaw::NegativePrice) => event.price_cents = -event.price_cents - 1,
            Some(Flaw::Repeated) => event.id = row.saturating_sub(1 + rng.below(REPEAT_DISTANCE)),
            _ => {}
        }
        event
    }
}

impl Event {
    fn is(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn country(&self) -> Cow<'static, str> {
        if self.odd_spelling { format!(" {}", self.country.to_lowercase()).into() } else { self.country.into() }
    }

    fn status(&self) -> Cow<'static, str> {
        if self.odd_spelling { format!("{} ", self.status.to_uppercase()).into() } else { self.status.into() }
    }

    fn write(&self, writer: &mut RowWriter<'_>, scratch: &mut Scratch) {
        writer.text("event_id", if self.is(Flaw::NoEventId) { "" } else { scratch.padded("e", self.id, 12) });
        match self.flaw {
            Some(Flaw::NoTime) => writer.text("event_time", ""),
            Some(Flaw::BadTime) => writer.text("event_time", "2026-13-45T99:00:00Z"),
            _ => writer.text("event_time", scratch.time(self.time_ms)),
        }
        writer.text("user_id", if self.is(Flaw::NoUser) { "" } else { scratch.padded("u", self.user, 6) });
        writer.text("product_id", if self.is(Flaw::NoProduct) { "" } else { scratch.padded("p", self.product, 5) });
        if self.is(Flaw::TooFewFields) {
            return writer.end();
        }
        writer.text("category", category(self.product));
        writer.number(
            "quantity",
            if self.is(Flaw::BadQuantity) { "many" } else { scratch.integer(self.quantity.into()) },
        );
        writer.number("unit_price", if self.is(Flaw::BadPrice) { "n/a" } else { scratch.cents(self.price_cents) });
        writer.text("country", &self.country());
        writer.text("status", &self.status());
        if self.is(Flaw::TooManyFields) {
            writer.text("extra", "left over");
        }
        writer.end();
    }
}

impl Table for Events {
    fn name(&self) -> &'static str {
        "events"
    }

    fn rows(&self) -> u64 {
        self.rows
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("event_id", DataType::Utf8, true),
            Field::new("event_time", DataType::Timestamp(TimeUnit::Millisecond, None), true),
            Field::new("user_id", DataType::Utf8, true),
            Field::new("product_id", DataType::Utf8, true),
            Field::new("category", DataType::Utf8, true),
            Field::new("quantity", DataType::Int32, true),
            Field::new("unit_price", DataType::Decimal128(12, 2), true),
            Field::new("country", DataType::Utf8, true),
            Field::new("status", DataType::Utf8, true),
        ]))
    }

    fn batches(&self, piece: u64) -> Result<Vec<RecordBatch>, GenerateError> {
        let events: Vec<Event> = rows_of(piece, self.rows).map(|row| self.event(row)).collect();
        let mut scratch = Scratch::default();
        let mut texts = |without: Flaw, prefix: &str, number: fn(&Event) -> u64, width: usize| -> ArrayRef {
            let value =
                |event: &Event| (!event.is(without)).then(|| scratch.padded(prefix, number(event), width).to_owned());
            Arc::new(events.iter().map(value).collect::<StringArray>())
        };
        let ids = texts(Flaw::NoEventId, "e", |event| event.id, 12);
        let users = texts(Flaw::NoUser, "u", |event| event.user, 6);
        let products = texts(Flaw::NoProduct, "p", |event| event.product, 5);
        let times = events.iter().map(|e| (!e.is(Flaw::NoTime) && !e.is(Flaw::BadTime)).then_some(e.time_ms));
        let quantities = events.iter().map(|e| (!e.is(Flaw::BadQuantity)).then_some(e.quantity));
        let prices = events.iter().map(|e| (!e.is(Flaw::BadPrice)).then_some(i128::from(e.price_cents)));
        let columns: Vec<ArrayRef> = vec![
            ids,
            Arc::new(times.collect::<TimestampMillisecondArray>()),
            users,
            products,
            Arc::new(StringArray::from_iter_values(events.iter().map(|event| category(event.product)))),
            Arc::new(quantities.collect::<Int32Array>()),
            Arc::new(prices.collect::<Decimal128Array>().with_precision_and_scale(12, 2)?),
            Arc::new(StringArray::from_iter_values(events.iter().map(Event::country))),
            Arc::new(StringArray::from_iter_values(events.iter().map(Event::status))),
        ];
        Ok(vec![RecordBatch::try_new(self.schema(), columns)?])
    }

    fn text(&self, piece: u64, format: Format, out: &mut Vec<u8>) -> Result<u64, GenerateError> {
        let rows = rows_of(piece, self.rows);
        let count = rows.end - rows.start;
        let mut scratch = Scratch::default();
        let mut writer = RowWriter::new(out, format);
        for row in rows {
            self.event(row).write(&mut writer, &mut scratch);
        }
        Ok(count)
    }
}

/// The dimension table: one row per product, none for the unknown ones.
pub(super) struct Products {
    pub(super) seed: u64,
}

impl Table for Products {
    fn name(&self) -> &'static str {
        "products"
    }

    fn pieces(&self) -> u64 {
        1
    }

    fn rows(&self) -> u64 {
        PRODUCTS
    }

    fn schema(&self) -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("product_id", DataType::Utf8, false),
            Field::new("product_name", DataType::Utf8, false),
            Field::new("category", DataType::Utf8, false),
            Field::new("list_price", DataType::Decimal128(12, 2), false),
        ]))
    }

    fn batches(&self, _piece: u64) -> Result<Vec<RecordBatch>, GenerateError> {
        let mut scratch = Scratch::default();
        let ids: Vec<String> = (1..=PRODUCTS).map(|product| scratch.padded("p", product, 5).to_owned()).collect();
        let names = (1..=PRODUCTS).map(|product| scratch.padded("product ", product, 1).to_owned());
        let prices = (1..=PRODUCTS).map(|product| i128::from(list_price_cents(self.seed, product)));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(ids)),
            Arc::new(StringArray::from_iter_values(names)),
            Arc::new(StringArray::from_iter_values((1..=PRODUCTS).map(category))),
            Arc::new(Decimal128Array::from_iter_values(prices).with_precision_and_scale(12, 2)?),
        ];
        Ok(vec![RecordBatch::try_new(self.schema(), columns)?])
    }

    fn text(&self, _piece: u64, format: Format, out: &mut Vec<u8>) -> Result<u64, GenerateError> {
        let mut scratch = Scratch::default();
        let mut writer = RowWriter::new(out, format);
        for product in 1..=PRODUCTS {
            writer.text("product_id", scratch.padded("p", product, 5));
            writer.text("product_name", scratch.padded("product ", product, 1));
            writer.text("category", category(product));
            writer.number("list_price", scratch.cents(list_price_cents(self.seed, product)));
            writer.end();
        }
        Ok(PRODUCTS)
    }
}

fn category(product: u64) -> &'static str {
    CATEGORIES[(product % CATEGORIES.len() as u64) as usize]
}

/// From 0.99 to about 400, most of them small.
fn list_price_cents(seed: u64, product: u64) -> i64 {
    let mut rng = RowRng::new(seed, PRODUCT_STREAM, product);
    99 + (rng.below(200) * rng.below(200)) as i64
}
