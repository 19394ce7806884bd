//! Programs that tests and bench submit to clusters. Each is an executable of its own in `src/bin`.
