//! What programs that run on Tandem are written with.
