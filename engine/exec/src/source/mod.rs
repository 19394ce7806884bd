//! Sources: CSV, JSON, Parquet and Arrow files as tables.
