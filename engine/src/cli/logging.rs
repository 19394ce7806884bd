//! Logs, always to standard error: JSON lines of the processes of a cluster, plain lines of commands. `TANDEM_LOG` filters
//! both, such as `TANDEM_LOG=tandem_coordinator=debug`.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::output::tell;

const VARIABLE: &str = "TANDEM_LOG";

/// For a command of a client: errors only, unless asked for more. Lines that nobody reads are lost, as below.
pub(super) fn for_command(verbose: u8, color: bool) {
    let level = match verbose {
        0 => "error",
        1 => "info,h2=warn,hyper=warn,datafusion=warn",
        _ => "debug,h2=info,hyper=info,datafusion=info",
    };
    // Fails only when logging was set up before, which then stays.
    let builder = tracing_subscriber::fmt().with_ansi(color && std::io::stderr().is_terminal());
    let builder = builder.log_internal_errors(false);
    let _ = builder.with_env_filter(filter(level)).with_writer(std::io::stderr).try_init();
}

/// For a process of a cluster. Lines that its disk has no room for are lost: complaining about them on the same standard
/// error would panic.
pub(super) fn for_process() {
    let builder = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false).with_span_list(true);
    let builder = builder.log_internal_errors(false);
    let _ = builder
        .with_env_filter(filter("info,h2=warn,hyper=warn,datafusion=warn"))
        .with_writer(std::io::stderr)
        .try_init();
}

fn filter(default: &str) -> EnvFilter {
    let given = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    match given.map(|text| EnvFilter::try_new(&text)) {
        Some(Ok(filter)) => filter,
        Some(Err(error)) => {
            tell!("warning: {VARIABLE} is not a log filter: {error}");
            EnvFilter::new(default)
        }
        None => EnvFilter::new(default),
    }
}
