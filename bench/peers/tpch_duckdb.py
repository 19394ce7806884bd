"""TPC-H by DuckDB: reads one path of a query per line, runs it over the Parquet files, answers the number of rows."""

import argparse
import pathlib
import sys

import duckdb

arguments = argparse.ArgumentParser()
arguments.add_argument("--data", type=pathlib.Path, required=True)
arguments.add_argument("--threads", type=int, required=True)
given = arguments.parse_args()

con = duckdb.connect()
con.execute(f"SET threads = {given.threads}")
for file in sorted(given.data.glob("*.parquet")):
    con.execute(f"CREATE VIEW {file.stem} AS SELECT * FROM read_parquet('{file}')")
print("ready", flush=True)
for line in sys.stdin:
    sql = pathlib.Path(line.strip()).read_text()
    print(len(con.execute(sql).fetchall()), flush=True)
