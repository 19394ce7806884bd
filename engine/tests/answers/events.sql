-- What the job `events` must make of a file, worked out by DuckDB from the rows that could be read (`raw`) and the lines
-- that could not (`rejected`), and how it differs from what the job wrote into the folder OUTPUT.

-- An event has its keys and sells something; of those with one id the latest counts.
CREATE TABLE sold AS
SELECT nullif(trim(event_id), '') AS event_id, event_time,
       nullif(trim(user_id), '') AS user_id, nullif(trim(product_id), '') AS product_id,
       quantity, unit_price,
       upper(nullif(trim(country), '')) AS country, lower(nullif(trim(status), '')) AS status
FROM raw;
DELETE FROM sold
WHERE event_id IS NULL OR event_time IS NULL OR user_id IS NULL OR product_id IS NULL
   OR NOT coalesce(quantity > 0 AND unit_price >= 0, false);

CREATE TABLE latest AS
SELECT * FROM sold
QUALIFY row_number() OVER (
    PARTITION BY event_id
    ORDER BY event_time DESC, user_id, product_id, quantity DESC, unit_price DESC,
             country NULLS LAST, status NULLS LAST
) = 1;

CREATE TABLE products AS
SELECT * FROM read_csv('PRODUCTS', header = true, auto_detect = false, delim = ',', quote = '"', escape = '"', columns = {
    product_id: 'VARCHAR', product_name: 'VARCHAR', category: 'VARCHAR', list_price: 'DECIMAL(12,2)'
});

CREATE TABLE curated AS
SELECT event_id, event_time, user_id, product_id, product_name, coalesce(category, 'unknown') AS category,
       quantity, unit_price, country, status, quantity * unit_price AS revenue,
       CAST(event_time AS DATE) AS event_date, hour(event_time) AS event_hour,
       quantity * unit_price > 500 AS is_high_value
FROM latest LEFT JOIN products USING (product_id);

CREATE TABLE aggregates AS
SELECT event_date, category, count(*) AS orders, count(DISTINCT user_id) AS users, sum(quantity) AS units,
       sum(revenue) AS revenue, CAST(sum(revenue) AS DOUBLE) / count(*) AS mean_basket
FROM curated GROUP BY ALL;

CREATE TABLE top AS
SELECT row_number() OVER (ORDER BY sum(revenue) DESC, product_id) AS place, product_id,
       min(product_name) AS product_name, min(category) AS category,
       count(*) AS orders, sum(quantity) AS units, sum(revenue) AS revenue
FROM curated GROUP BY product_id
ORDER BY place LIMIT 20;

-- What the job wrote.
CREATE VIEW curated_written AS
SELECT event_id, event_time, user_id, product_id, product_name, category, quantity, unit_price, country, status,
       revenue, event_date, event_hour, is_high_value
FROM read_parquet('OUTPUT/curated/**/*.parquet', hive_partitioning = true);

CREATE VIEW aggregates_written AS SELECT * FROM read_parquet('OUTPUT/aggregates/*.parquet');

CREATE TABLE top_written AS
SELECT row_number() OVER () AS place, *
FROM read_json('OUTPUT/top_products.json', format = 'array', columns = {
    product_id: 'VARCHAR', product_name: 'VARCHAR', category: 'VARCHAR', orders: 'BIGINT', units: 'BIGINT',
    revenue: 'DECIMAL(38,2)'
});

CREATE VIEW rejected_written AS
SELECT * FROM read_json('OUTPUT/rejects/*.jsonl', format = 'newline_delimited', columns = {
    file: 'VARCHAR', line: 'BIGINT', "column": 'VARCHAR', reason: 'VARCHAR', raw: 'VARCHAR'
});

CREATE MACRO rows_of(name) AS TABLE SELECT count(*) AS n FROM query_table(name);
CREATE MACRO rows_not_in(name, other) AS TABLE
    SELECT count(*) AS n FROM (FROM query_table(name) EXCEPT ALL FROM query_table(other));

CREATE VIEW lines AS SELECT DISTINCT line FROM rejected;
CREATE VIEW lines_written AS SELECT line FROM rejected_written;
CREATE VIEW sums AS SELECT * EXCLUDE (mean_basket) FROM aggregates;
CREATE VIEW sums_written AS
SELECT event_date, category, orders, users, units, revenue FROM aggregates_written;

SELECT (FROM rows_of('raw')) + (FROM rows_of('lines')) AS read,
       (FROM rows_of('lines')) AS rejected,
       (FROM rows_of('raw')) - (FROM rows_of('sold')) AS dropped,
       (FROM rows_of('sold')) - (FROM rows_of('latest')) AS deduplicated,
       (FROM rows_of('curated')) AS written,
       (FROM rows_not_in('curated', 'curated_written')) AS curated_missing,
       (FROM rows_not_in('curated_written', 'curated')) AS curated_extra,
       (FROM rows_not_in('sums', 'sums_written')) AS aggregates_missing,
       (FROM rows_not_in('sums_written', 'sums')) AS aggregates_extra,
       (SELECT count(*) FROM aggregates JOIN aggregates_written AS w USING (event_date, category)
        WHERE abs(aggregates.mean_basket / w.mean_basket - 1) > 1e-9) AS means_wrong,
       (FROM rows_not_in('top', 'top_written')) AS top_missing,
       (FROM rows_not_in('top_written', 'top')) AS top_extra,
       (FROM rows_not_in('lines', 'lines_written')) AS rejects_missing,
       (FROM rows_not_in('lines_written', 'lines')) AS rejects_extra,
       (SELECT count(*) FROM rejected_written WHERE file IS NULL OR reason IS NULL OR raw IS NULL) AS rejects_vague;
