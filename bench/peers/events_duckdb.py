"""The jobs `events` and `clean` by DuckDB. Prints its counts as one line of JSON.

Written from the rules, not from the job files: strings are trimmed and empty ones are null; rows that cannot be read
are rejected; rows without a key, that sell nothing, or that have a negative price are dropped. `events` keeps the latest of the
rows with one id, adds what the catalogue knows, writes every row by day, and aggregates. `clean` only aggregates.
"""

import json

import duckdb

from events_arguments import given

con = duckdb.connect()
con.execute(f"SET threads = {given.threads}")
con.execute("SET preserve_insertion_order = false")
con.execute(f"SET temp_directory = '{given.out}/spill'")

con.execute(f"""
CREATE VIEW cleaned AS
SELECT trim(event_id) AS event_id, event_time, trim(user_id) AS user_id, trim(product_id) AS product_id,
       quantity, unit_price,
       upper(nullif(trim(country), '')) AS country, lower(nullif(trim(status), '')) AS status
FROM read_csv('{given.events}', header = true, store_rejects = true, columns = {{
    event_id: 'VARCHAR', event_time: 'TIMESTAMP', user_id: 'VARCHAR', product_id: 'VARCHAR', category: 'VARCHAR',
    quantity: 'INTEGER', unit_price: 'DECIMAL(12,2)', country: 'VARCHAR', status: 'VARCHAR'}})
WHERE trim(event_id) <> '' AND event_time IS NOT NULL AND trim(user_id) <> '' AND trim(product_id) <> ''
  AND quantity > 0 AND unit_price >= 0
""")
con.execute(f"""
CREATE TABLE products AS
SELECT trim(product_id) AS product_id, min(product_name) AS product_name, min(category) AS category
FROM read_csv('{given.products}', header = true, columns = {{
    product_id: 'VARCHAR', product_name: 'VARCHAR', category: 'VARCHAR', list_price: 'DECIMAL(12,2)'}})
GROUP BY 1
""")


def write_parted(table):
    """Writes a table by day; the number of its rows."""
    to = f"'{given.out}/curated' (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (event_date))"
    return con.execute(f"COPY {table} TO {to}").fetchone()[0]


def events():
    """Every row, and three aggregates; the number of rows."""
    con.execute("""
    CREATE TABLE latest AS
    FROM cleaned QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY event_time DESC) = 1
    """)
    con.execute("""
    CREATE VIEW enriched AS
    SELECT l.event_id, l.event_time, l.user_id, l.product_id, p.product_name,
           coalesce(p.category, 'unknown') AS category, l.quantity, l.unit_price, l.country, l.status,
           l.quantity * l.unit_price AS revenue,
           l.event_time::DATE AS event_date, hour(l.event_time)::INTEGER AS event_hour,
           l.quantity * l.unit_price > 500 AS is_high_value
    FROM latest l LEFT JOIN products p USING (product_id)
    """)
    written = write_parted("enriched")
    con.execute(f"""
    COPY (
        SELECT event_date, category, count(*) AS orders, count(DISTINCT user_id) AS users, sum(quantity)::BIGINT AS units,
               sum(revenue) AS revenue, sum(revenue)::DOUBLE / count(*) AS mean_basket
        FROM enriched GROUP BY ALL ORDER BY ALL
    ) TO '{given.out}/aggregates.parquet' (FORMAT parquet)
    """)
    con.execute(f"""
    COPY (
        SELECT product_id, any_value(product_name) AS product_name, any_value(category) AS category,
               count(*) AS orders, sum(quantity)::BIGINT AS units, sum(revenue) AS revenue
        FROM enriched GROUP BY product_id ORDER BY revenue DESC, product_id LIMIT 20
    ) TO '{given.out}/top_products.json' (FORMAT json)
    """)
    con.execute(f"""
    COPY (
        SELECT count(*) AS orders, sum(quantity)::BIGINT AS units, sum(revenue) AS total_revenue,
               min(event_date) AS first_date, max(event_date) AS last_date
        FROM enriched
    ) TO '{given.out}/totals.json' (FORMAT json)
    """)
    return written


def clean():
    """One aggregate; the number of its rows."""
    return write_parted("""(
        SELECT event_time::DATE AS event_date, coalesce(p.category, 'unknown') AS category, country,
               count(*) AS orders, sum(quantity)::BIGINT AS units, sum(quantity * unit_price) AS revenue
        FROM cleaned LEFT JOIN products p USING (product_id)
        GROUP BY ALL
    )""")


written = events() if given.job == "events" else clean()
con.execute(f"""
COPY (SELECT line, column_name, error_message, csv_line FROM reject_errors) TO '{given.out}/rejects.parquet'
""")
(rejected,) = con.execute("SELECT count(DISTINCT line_byte_position) FROM reject_errors").fetchone()
print(json.dumps({"written": written, "rejected": rejected}))
