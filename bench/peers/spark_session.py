"""How Spark is started: in one process, on local threads, heard by nobody else."""

from pyspark.sql import SparkSession


def session(threads, out="."):
    """A session that uses so many threads and spills below `out`."""
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.memory": "8g",
        "spark.local.dir": f"{out}/spill",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": threads,
        # Else a row with too many fields is read as if it had none too many.
        "spark.sql.csv.parser.columnPruning.enabled": "false",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
    }
    builder = SparkSession.builder.master(f"local[{threads}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    return spark
