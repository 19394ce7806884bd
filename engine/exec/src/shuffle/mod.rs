//! Operators that write and read stage output.
