"""The job `sales` by Spark on local threads: revenue and quantities per product, from Parquet to a JSON array."""

import argparse
import json
import pathlib

from spark_session import session

arguments = argparse.ArgumentParser()
arguments.add_argument("--input", required=True)
arguments.add_argument("--out", type=pathlib.Path, required=True)
arguments.add_argument("--threads", type=int, required=True)
given = arguments.parse_args()

spark = session(given.threads)
spark.read.parquet(given.input).createOrReplaceTempView("sales")
rows = spark.sql("""
SELECT product, sum(quantity * price) AS total_revenue, sum(quantity) AS total_quantity,
       count(*) AS transaction_count, avg(quantity) AS avg_quantity
FROM sales
GROUP BY product
ORDER BY total_revenue DESC, product
""").collect()
given.out.write_text(json.dumps([row.asDict() for row in rows]))
spark.stop()
