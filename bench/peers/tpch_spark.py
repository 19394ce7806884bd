"""TPC-H by Spark on local threads: reads one path of a query per line, runs it over the Parquet files, answers the number
of rows."""

import argparse
import pathlib
import sys

from spark_session import session

arguments = argparse.ArgumentParser()
arguments.add_argument("--data", type=pathlib.Path, required=True)
arguments.add_argument("--threads", type=int, required=True)
given = arguments.parse_args()

spark = session(given.threads)
for file in sorted(given.data.glob("*.parquet")):
    spark.read.parquet(str(file)).createOrReplaceTempView(file.stem)
print("ready", flush=True)
for line in sys.stdin:
    sql = pathlib.Path(line.strip()).read_text()
    print(len(spark.sql(sql).collect()), flush=True)
