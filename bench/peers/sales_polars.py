"""The job `sales` by Polars: revenue and quantities per product, from Parquet to a JSON array."""

import argparse

import polars as pl

arguments = argparse.ArgumentParser()
arguments.add_argument("--input", required=True)
arguments.add_argument("--out", required=True)
arguments.add_argument("--threads", type=int, required=True)
given = arguments.parse_args()
assert pl.thread_pool_size() == given.threads

quantity = pl.col("quantity").cast(pl.Int64)
(
    pl.scan_parquet(given.input)
    .group_by("product")
    .agg(
        (quantity * pl.col("price")).sum().alias("total_revenue"),
        quantity.sum().alias("total_quantity"),
        pl.len().alias("transaction_count"),
        quantity.mean().alias("avg_quantity"),
    )
    .sort("total_revenue", "product", descending=[True, False])
    .collect(engine="streaming")
    .write_json(given.out)
)
