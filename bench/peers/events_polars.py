"""The jobs `events` and `clean` by Polars, by the rules in events_duckdb.py. Prints its counts as one line of JSON.

Polars has no rejects: columns are read as strings, with one more for fields that are too many, and what cannot be parsed
is filtered out.
"""

import json

import polars as pl

from events_arguments import given

assert pl.thread_pool_size() == given.threads

COLUMNS = "event_id event_time user_id product_id category quantity unit_price country status extra".split()
KEYS = "event_id event_time user_id product_id".split()


def text(name):
    """The column without spaces around it, null when nothing is left."""
    trimmed = pl.col(name).str.strip_chars()
    return pl.when(trimmed != "").then(trimmed)


raw = pl.scan_csv(
    given.events, has_header=False, skip_rows=1, schema=dict.fromkeys(COLUMNS, pl.String), missing_columns="insert"
)
typed = raw.filter(pl.col("extra").is_null()).select(
    text("event_id"),
    pl.col("event_time").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", strict=False),
    text("user_id"),
    text("product_id"),
    pl.col("quantity").cast(pl.Int32, strict=False),
    pl.col("unit_price").cast(pl.Decimal(12, 2), strict=False),
    text("country").str.to_uppercase(),
    text("status").str.to_lowercase(),
)
cleaned = typed.filter(
    *(pl.col(key).is_not_null() for key in KEYS), pl.col("quantity") > 0, pl.col("unit_price") >= 0
)
products = (
    pl.scan_csv(given.products)
    .group_by(pl.col("product_id").str.strip_chars())
    .agg(pl.col("product_name").min(), pl.col("category").min())
)
revenue = (pl.col("quantity").cast(pl.Decimal(38, 2)) * pl.col("unit_price")).cast(pl.Decimal(38, 2))
orders, units = pl.len().alias("orders"), pl.col("quantity").cast(pl.Int64).sum().alias("units")
parted = pl.PartitionBy(f"{given.out}/curated", key="event_date", include_key=False)


def enrich(rows):
    """With what the catalogue knows and what a row alone says."""
    return rows.join(products, on="product_id", how="left").with_columns(
        pl.col("category").fill_null("unknown"),
        revenue.alias("revenue"),
        pl.col("event_time").dt.date().alias("event_date"),
        pl.col("event_time").dt.hour().cast(pl.Int32).alias("event_hour"),
        (revenue > 500).alias("is_high_value"),
    )


def write_parted(table):
    """Writes a table by day."""
    return table.sink_parquet(parted, compression="snappy", maintain_order=False, mkdir=True, lazy=True)


def events():
    """Every row, and three aggregates; the number of rows."""
    enriched = enrich(cleaned.group_by("event_id").agg(pl.all().max_by("event_time")))
    daily = (
        enriched.group_by("event_date", "category")
        .agg(orders, pl.col("user_id").n_unique().alias("users"), units, pl.col("revenue").sum())
        .with_columns((pl.col("revenue").cast(pl.Float64) / pl.col("orders")).alias("mean_basket"))
        .sort("event_date", "category")
    )
    top_products = (
        enriched.group_by("product_id")
        .agg(pl.col("product_name").first(), pl.col("category").first(), orders, units, pl.col("revenue").sum())
        .sort("revenue", "product_id", descending=[True, False])
        .head(20)
    )
    totals = enriched.select(
        orders,
        units,
        pl.col("revenue").sum().alias("total_revenue"),
        pl.col("event_date").min().alias("first_date"),
        pl.col("event_date").max().alias("last_date"),
    )
    *_, rows = pl.collect_all(
        [
            write_parted(enriched),
            daily.sink_parquet(f"{given.out}/aggregates.parquet", lazy=True),
            top_products.sink_ndjson(f"{given.out}/top_products.json", lazy=True),
            totals.sink_ndjson(f"{given.out}/totals.json", lazy=True),
            enriched.select(pl.len()),
        ],
        engine="streaming",
    )
    return rows.item()


def clean():
    """One aggregate; the number of its rows."""
    daily = (
        enrich(cleaned).group_by("event_date", "category", "country").agg(orders, units, pl.col("revenue").sum())
    )
    _, rows = pl.collect_all([write_parted(daily), daily.select(pl.len())], engine="streaming")
    return rows.item()


print(json.dumps({"written": events() if given.job == "events" else clean()}))
