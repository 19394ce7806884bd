//! SQL as a user wrote it: where it stands, and errors that point into it.

use datafusion::common::diagnostic::Diagnostic;
use datafusion::error::DataFusionError;
use tandem_exec::error::{PlanError, arrow_message};

/// One SQL text and how errors call the place it stands at.
#[derive(Debug, Clone)]
pub(super) struct SqlText<'a> {
    pub(super) text: &'a str,
    place: Place<'a>,
}

#[derive(Debug, Clone)]
enum Place<'a> {
    /// A statement by itself.
    Statement,
    /// A step's text, or a check of it, in a job file, beginning at `line`.
    JobFile { origin: &'a str, line: usize, what: String },
}

/// A line and column of a text, both counted from 1.
type Position = (usize, usize);

impl<'a> SqlText<'a> {
    pub(super) fn statement(text: &'a str) -> Self {
        Self { text, place: Place::Statement }
    }

    /// Text that begins at `line` of the job file `origin`; `what` names what it belongs to.
    pub(super) fn in_file(text: &'a str, origin: &'a str, line: usize, what: String) -> Self {
        Self { text, place: Place::JobFile { origin, line, what } }
    }

    /// An error about the text as a whole.
    pub(super) fn error(&self, what: impl Into<String>, help: Option<String>) -> PlanError {
        self.error_at(what, None, help)
    }

    /// An error about the first place where `word` stands.
    pub(super) fn error_about(&self, word: &str, what: impl Into<String>, help: Option<String>) -> PlanError {
        self.error_at(what, self.find(word), help)
    }

    /// What DataFusion found wrong with the text, with its position when that is known.
    pub(super) fn explain(&self, error: &DataFusionError) -> PlanError {
        if let Some(WrongCall { function, what, help }) = WrongCall::of(&error.strip_backtrace()) {
            return self.error_about(&function, what, help);
        }
        let (message, help) = message_of(error);
        // The parser gives no position when it wants more than there is.
        let at_end = || message.ends_with("found: EOF").then(|| position_after(self.text));
        let position = position_of(error).or_else(at_end);
        self.error_at(message, position, help)
    }

    /// `error`, which planning the text's operators gave, as an error about the text.
    pub(super) fn in_context(&self, error: PlanError) -> PlanError {
        match error {
            PlanError::DataFusion(error) => self.explain(&error),
            other => other,
        }
    }

    fn error_at(&self, what: impl Into<String>, position: Option<Position>, help: Option<String>) -> PlanError {
        let mut message = what.into();
        match (&self.place, position) {
            (Place::Statement, None) => {}
            (Place::Statement, Some((line, column))) => {
                message.push_str(&format!(": line {line}, column {column}{}", self.near((line, column))));
            }
            (Place::JobFile { origin, line, what }, None) => message.push_str(&format!(": {what} ({origin}:{line})")),
            (Place::JobFile { origin, line: first, what }, Some((line, column))) => {
                let near = self.near((line, column));
                message.push_str(&format!(": {what} ({origin}:{}{near})", first + line - 1));
            }
        }
        PlanError::Invalid { message, help }
    }

    /// A little of the text from `position` on.
    fn near(&self, (line, column): Position) -> String {
        let rest = self.text.lines().nth(line - 1).and_then(|text| {
            let (start, _) = text.char_indices().nth(column - 1)?;
            Some(&text[start..])
        });
        match rest.map(str::trim).filter(|rest| !rest.is_empty()) {
            Some(rest) if rest.chars().count() > 32 => {
                format!(", near `{}…`", rest.chars().take(30).collect::<String>())
            }
            Some(rest) => format!(", near `{rest}`"),
            None => ", at the end".to_owned(),
        }
    }

    fn find(&self, word: &str) -> Option<Position> {
        let is_name = |c: char| c.is_alphanumeric() || c == '_';
        let folded = self.text.to_ascii_lowercase();
        let word = word.to_ascii_lowercase();
        let (at, _) = folded
            .match_indices(&word)
            .find(|(at, _)| !folded[..*at].ends_with(is_name) && !folded[at + word.len()..].starts_with(is_name))?;
        Some(position_after(&self.text[..at]))
    }
}

/// Where a text goes on that begins with `before`.
fn position_after(before: &str) -> Position {
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// `error` with the place it is about.
pub(super) fn locate(error: PlanError, place: impl std::fmt::Display) -> PlanError {
    match error {
        PlanError::Invalid { message, help } => PlanError::Invalid { message: format!("{message}: {place}"), help },
        PlanError::Storage(message) => PlanError::Storage(format!("{message}: {place}")),
        PlanError::DataFusion(error) => {
            let (message, help) = message_of(&error);
            PlanError::Invalid { message: format!("{message}: {place}"), help }
        }
    }
}

/// A call of a function that does not take such arguments. DataFusion takes some of them for errors of its own.
struct WrongCall {
    function: String,
    what: String,
    help: Option<String>,
}

impl WrongCall {
    fn of(message: &str) -> Option<Self> {
        let (before, call) = message.split_once("No function matches the given name and argument types '")?;
        let (call, rest) = call.split_once("'.")?;
        let (function, _) = call.split_once('(')?;
        if let Some((_, reason)) = before.split_once("user-defined coercion failed with: ") {
            // The function itself says what it takes.
            let reason = reason.trim().trim_start_matches("Error during planning: ");
            return Some(Self { function: function.to_owned(), what: uncapitalised(reason), help: None });
        }
        let (_, forms) = rest.split_once("Candidate functions:")?;
        let forms: Vec<&str> = forms.lines().map(str::trim).filter(|form| !form.is_empty()).collect();
        let help = Some(format!("a CAST may help; there is {}", forms.join(", ")));
        Some(Self { function: function.to_owned(), what: format!("no function matches {call}"), help })
    }
}

fn position_of(error: &DataFusionError) -> Option<Position> {
    match error {
        DataFusionError::Diagnostic(diagnostic, inner) => span_of(diagnostic).or_else(|| position_of(inner)),
        DataFusionError::Context(_, inner) => position_of(inner),
        DataFusionError::Shared(inner) => position_of(inner),
        DataFusionError::Collection(errors) => errors.first().and_then(position_of),
        DataFusionError::SQL(parser, _) => split_location(&parser.to_string()).1,
        _ => None,
    }
}

fn span_of(diagnostic: &Diagnostic) -> Option<Position> {
    let start = diagnostic.span?.start;
    let position = (usize::try_from(start.line).ok()?, usize::try_from(start.column).ok()?);
    (position.0 > 0 && position.1 > 0).then_some(position)
}

/// The innermost message without the names of error types, and a hint if DataFusion has one.
fn message_of(error: &DataFusionError) -> (String, Option<String>) {
    match error {
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => message_of(inner),
        DataFusionError::Shared(inner) => message_of(inner),
        DataFusionError::Collection(errors) if !errors.is_empty() => message_of(&errors[0]),
        DataFusionError::SQL(parser, _) => {
            let text = parser.to_string();
            let plain = text.trim_start_matches("sql parser error: ");
            (uncapitalised(split_location(plain).0), None)
        }
        DataFusionError::Plan(message)
        | DataFusionError::NotImplemented(message)
        | DataFusionError::Configuration(message)
        | DataFusionError::Execution(message) => split_help(message),
        DataFusionError::SchemaError(schema, _) => split_help(&schema.to_string()),
        DataFusionError::ArrowError(arrow, _) => split_help(&arrow_message(arrow)),
        other => split_help(&other.strip_backtrace()),
    }
}

/// DataFusion puts what to do behind the first sentence.
fn split_help(message: &str) -> (String, Option<String>) {
    let message = message.split(DataFusionError::BACK_TRACE_SEP).next().unwrap_or(message).trim();
    let message = without_debug_form(message);
    let end = message.char_indices().find(|(at, c)| *c == '.' && message[at + 1..].starts_with(char::is_whitespace));
    let (what, help) = match end {
        Some((at, _)) => (&message[..at], Some(uncapitalised(message[at + 1..].trim().trim_end_matches('.')))),
        None => (message.trim_end_matches('.'), None),
    };
    (uncapitalised(&what.replace('\n', " ")), help.map(|help| help.replace('\n', " ")))
}

/// Without the syntax tree in Rust's debug form that some messages end in.
fn without_debug_form(message: &str) -> &str {
    let starts_tree = |(brace, _): (usize, &str)| {
        let name = message[..brace].rsplit(' ').next()?;
        let is_type = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
        is_type.then(|| message[..brace - name.len()].trim_end())
    };
    message.match_indices(" { ").find_map(starts_tree).unwrap_or(message)
}

/// A parser's message without its ` at Line: 1, Column: 8`, and that position.
fn split_location(message: &str) -> (&str, Option<Position>) {
    let Some((before, location)) = message.rsplit_once(" at Line: ") else { return (message, None) };
    let position = location.split_once(", Column: ").and_then(|(line, column)| {
        let column = column.split(|c: char| !c.is_ascii_digit()).next()?;
        Some((line.parse().ok()?, column.parse().ok()?)).filter(|&(line, column)| line > 0 && column > 0)
    });
    (before, position)
}

fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text[first.len_utf8()..].chars()).collect()
        }
        _ => text.to_owned(),
    }
}
