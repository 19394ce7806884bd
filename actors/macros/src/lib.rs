//! The attributes `task`, `actor` and `main` of Tandem programs.
