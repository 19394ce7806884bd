//! Standard error, for people. Nobody may be reading it any more, and that ends no command.

use std::fmt::Arguments;
use std::io::Write;

/// Prints a line to standard error, as `eprintln!` does, and goes on when it cannot be written.
macro_rules! tell {
    ($($line:tt)*) => {
        $crate::output::tell_line(format_args!($($line)*))
    };
}
pub(crate) use tell;

/// What `tell!` stands for.
pub(crate) fn tell_line(line: Arguments<'_>) {
    tell_with(|out| writeln!(out, "{line}"));
}

/// Lets `print` write to standard error, as far as that can be written.
pub(crate) fn tell_with(print: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) {
    let _ = print(&mut std::io::stderr().lock());
}
