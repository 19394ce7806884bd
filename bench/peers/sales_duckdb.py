"""The job `sales` by DuckDB: revenue and quantities per product, from Parquet to a JSON array."""

import argparse

import duckdb

arguments = argparse.ArgumentParser()
arguments.add_argument("--input", required=True)
arguments.add_argument("--out", required=True)
arguments.add_argument("--threads", type=int, required=True)
given = arguments.parse_args()

con = duckdb.connect()
con.execute(f"SET threads = {given.threads}")
con.execute(f"""
COPY (
    SELECT product, sum(quantity * price) AS total_revenue, sum(quantity) AS total_quantity,
           count(*) AS transaction_count, avg(quantity) AS avg_quantity
    FROM read_parquet('{given.input}')
    GROUP BY product
    ORDER BY total_revenue DESC, product
) TO '{given.out}' (FORMAT json, ARRAY true)
""")
