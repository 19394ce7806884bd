"""The jobs `events` and `clean` by Spark on local threads, by the rules in events_duckdb.py. Prints its counts as one line
of JSON.

Spark's reader names the text of a row that it could not read in a column of its own; those rows are the rejects.
"""

import json

from events_arguments import given
from spark_session import session

spark = session(given.threads, given.out)

events = spark.read.csv(
    given.events,
    header=True,
    mode="PERMISSIVE",
    columnNameOfCorruptRecord="corrupt",
    schema="""event_id string, event_time timestamp, user_id string, product_id string, category string, quantity int,
    unit_price decimal(12,2), country string, status string, corrupt string""",
)
events.createOrReplaceTempView("raw")
spark.read.csv(given.products, header=True).createOrReplaceTempView("catalogue")
spark.sql("""
CREATE TEMP VIEW products AS
SELECT trim(product_id) AS product_id, min(product_name) AS product_name, min(category) AS category
FROM catalogue GROUP BY 1
""")
spark.sql("""
CREATE TEMP VIEW cleaned AS
SELECT trim(event_id) AS event_id, event_time, trim(user_id) AS user_id, trim(product_id) AS product_id,
       quantity, unit_price,
       upper(nullif(trim(country), '')) AS country, lower(nullif(trim(status), '')) AS status
FROM raw
WHERE corrupt IS NULL
  AND trim(event_id) <> '' AND event_time IS NOT NULL AND trim(user_id) <> '' AND trim(product_id) <> ''
  AND quantity > 0 AND unit_price >= 0
""")


def write_parted(table):
    """Writes a table by day; the number of its rows."""
    table.write.partitionBy("event_date").mode("overwrite").parquet(f"{given.out}/curated")
    return spark.read.parquet(f"{given.out}/curated").count()


def events_job():
    """Every row, and three aggregates; the number of rows."""
    spark.sql("""
    SELECT l.event_id, l.event_time, l.user_id, l.product_id, p.product_name,
           coalesce(p.category, 'unknown') AS category, l.quantity, l.unit_price, l.country, l.status,
           l.quantity * l.unit_price AS revenue, CAST(l.event_time AS DATE) AS event_date,
           hour(l.event_time) AS event_hour, l.quantity * l.unit_price > 500 AS is_high_value
    FROM (
        SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY event_time DESC) AS place FROM cleaned
    ) l LEFT JOIN products p USING (product_id)
    WHERE place = 1
    """).persist().createOrReplaceTempView("enriched")
    written = write_parted(spark.table("enriched"))
    spark.sql("""
    SELECT event_date, category, count(*) AS orders, count(DISTINCT user_id) AS users, sum(quantity) AS units,
           sum(revenue) AS revenue, CAST(sum(revenue) AS DOUBLE) / count(*) AS mean_basket
    FROM enriched GROUP BY event_date, category ORDER BY event_date, category
    """).coalesce(1).write.parquet(f"{given.out}/aggregates.parquet")
    spark.sql("""
    SELECT product_id, min(product_name) AS product_name, min(category) AS category, count(*) AS orders,
           sum(quantity) AS units, sum(revenue) AS revenue
    FROM enriched GROUP BY product_id ORDER BY revenue DESC, product_id LIMIT 20
    """).coalesce(1).write.json(f"{given.out}/top_products.json")
    spark.sql("""
    SELECT count(*) AS orders, sum(quantity) AS units, sum(revenue) AS total_revenue,
           min(event_date) AS first_date, max(event_date) AS last_date
    FROM enriched
    """).coalesce(1).write.json(f"{given.out}/totals.json")
    return written


def clean_job():
    """One aggregate; the number of its rows."""
    return write_parted(
        spark.sql("""
        SELECT CAST(event_time AS DATE) AS event_date, coalesce(p.category, 'unknown') AS category, country,
               count(*) AS orders, sum(quantity) AS units, sum(quantity * unit_price) AS revenue
        FROM cleaned LEFT JOIN products p USING (product_id)
        GROUP BY CAST(event_time AS DATE), coalesce(p.category, 'unknown'), country
        """)
    )


written = events_job() if given.job == "events" else clean_job()
print(json.dumps({"written": written}))
spark.stop()
