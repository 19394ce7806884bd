//! The schema text of a source: `event_id string not null, quantity int, unit_price decimal(12,2)`.
//!
//! ```text
//! schema := column (',' column)*
//! column := name type ['not' 'null']
//! name   := letters, digits, '_' …  |  '"' any text, '""' for a quote '"'
//! type   := word [ '(' digits [ ',' digits ] ')' ]
//! ```

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, Schema, TimeUnit};

use crate::error::PlanError;

const TYPES: &str =
    "string, int, bigint, smallint, tinyint, float, double, boolean, date, timestamp, decimal(p,s), binary";

/// The schema that `text` declares.
pub fn parse_schema(text: &str) -> Result<Schema, PlanError> {
    let mut parser = Parser { text, at: 0 };
    let mut fields: Vec<Field> = Vec::new();
    loop {
        let start = parser.skip_space();
        let field = parser.column()?;
        if fields.iter().any(|other| other.name() == field.name()) {
            return Err(parser.error(start, &format!("column `{}` is declared twice", field.name())));
        }
        fields.push(field);
        let end = parser.skip_space();
        match parser.next() {
            None => return Ok(Schema::new(fields)),
            // A trailing comma is allowed, as in the TOML around it.
            Some(',') if parser.rest().trim().is_empty() => return Ok(Schema::new(fields)),
            Some(',') => {}
            Some(other) => return Err(parser.error(end, &format!("expected `,` or `not null`, found `{other}`"))),
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest().chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_space(&mut self) -> usize {
        self.at += self.rest().len() - self.rest().trim_start().len();
        self.at
    }

    /// Letters, digits and underscores from here on; empty if there are none.
    fn word(&mut self) -> &'a str {
        self.skip_space();
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphanumeric() && !"_.-".contains(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    fn error(&self, at: usize, what: &str) -> PlanError {
        let position = self.text[..at].chars().count() + 1;
        PlanError::Invalid {
            message: format!("schema: {what}: position {position}"),
            help: Some(format!("write `name type [not null], …` with the types {TYPES}")),
        }
    }

    fn column(&mut self) -> Result<Field, PlanError> {
        let name = self.name()?;
        let data_type = self.data_type(&name)?;
        let before = self.at;
        let nullable = if self.word().eq_ignore_ascii_case("not") {
            let at = self.skip_space();
            if !self.word().eq_ignore_ascii_case("null") {
                return Err(self.error(at, "expected `null` after `not`"));
            }
            false
        } else {
            self.at = before;
            true
        };
        Ok(Field::new(name, data_type, nullable))
    }

    fn name(&mut self) -> Result<String, PlanError> {
        let start = self.skip_space();
        if !self.rest().starts_with('"') {
            let name = self.word();
            return if name.is_empty() {
                Err(self.error(start, "expected a column name"))
            } else {
                Ok(name.to_owned())
            };
        }
        self.at += 1;
        let mut name = String::new();
        loop {
            match self.next() {
                Some('"') if self.rest().starts_with('"') => {
                    self.at += 1;
                    name.push('"');
                }
                Some('"') => return Ok(name),
                Some(c) => name.push(c),
                None => return Err(self.error(start, "a quoted column name is not closed")),
            }
        }
    }

    fn data_type(&mut self, column: &str) -> Result<DataType, PlanError> {
        let start = self.skip_space();
        let word = self.word().to_ascii_lowercase();
        let arguments = self.arguments()?;
        let data_type = match word.as_str() {
            "" => return Err(self.error(start, &format!("column `{column}` has no type"))),
            "decimal" | "numeric" => return self.decimal(start, &arguments),
            "string" | "text" | "varchar" => DataType::Utf8View,
            "int" | "integer" => DataType::Int32,
            "bigint" | "long" => DataType::Int64,
            "smallint" => DataType::Int16,
            "tinyint" => DataType::Int8,
            "float" | "real" => DataType::Float32,
            "double" => DataType::Float64,
            "boolean" | "bool" => DataType::Boolean,
            "date" => DataType::Date32,
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
            "binary" => DataType::BinaryView,
            other => return Err(self.error(start, &format!("column `{column}` has an unknown type `{other}`"))),
        };
        if arguments.is_empty() {
            Ok(data_type)
        } else {
            Err(self.error(start, &format!("type `{word}` takes no arguments")))
        }
    }

    /// The numbers in parentheses from here on, if there are such.
    fn arguments(&mut self) -> Result<Vec<u8>, PlanError> {
        let start = self.skip_space();
        if !self.rest().starts_with('(') {
            return Ok(Vec::new());
        }
        let Some(length) = self.rest().find(')') else {
            return Err(self.error(start, "`(` is not closed"));
        };
        let inside = &self.rest()[1..length];
        self.at += length + 1;
        let numbers: Result<Vec<u8>, _> = inside.split(',').map(|number| number.trim().parse()).collect();
        numbers.map_err(|_| self.error(start, &format!("expected numbers in `({inside})`")))
    }

    fn decimal(&self, start: usize, arguments: &[u8]) -> Result<DataType, PlanError> {
        let (precision, scale) = match *arguments {
            [precision] => (precision, 0),
            [precision, scale] => (precision, scale),
            _ => return Err(self.error(start, "decimal needs a precision and a scale, such as decimal(12,2)")),
        };
        if precision == 0 || precision > DECIMAL128_MAX_PRECISION || scale > precision {
            let limits = format!(
                "decimal({precision},{scale}) needs 1 to {DECIMAL128_MAX_PRECISION} digits, the scale among them"
            );
            return Err(self.error(start, &limits));
        }
        Ok(DataType::Decimal128(precision, scale.cast_signed()))
    }
}

/// What a schema text calls `data_type`.
pub(crate) fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8View | DataType::Utf8 | DataType::LargeUtf8 => "string".to_owned(),
        DataType::Int32 => "int".to_owned(),
        DataType::Int64 => "bigint".to_owned(),
        DataType::Int16 => "smallint".to_owned(),
        DataType::Int8 => "tinyint".to_owned(),
        DataType::Float32 => "float".to_owned(),
        DataType::Float64 => "double".to_owned(),
        DataType::Boolean => "boolean".to_owned(),
        DataType::Date32 => "date".to_owned(),
        DataType::Timestamp(..) => "timestamp".to_owned(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::BinaryView => "binary".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read() {
        let text = "a string not null, b int, c bigint,d smallint, e tinyint, f float, g double NOT NULL, h boolean, \
                    i date, j timestamp, k decimal( 12 , 2 ) not null, l binary, \"odd \"\" name, x\" string,";
        let schema = parse_schema(text).unwrap();
        let shown: Vec<String> = schema
            .fields()
            .iter()
            .map(|f| {
                format!("{} {}{}", f.name(), type_name(f.data_type()), if f.is_nullable() { "" } else { " not null" })
            })
            .collect();
        assert_eq!(
            shown.join("; "),
            "a string not null; b int; c bigint; d smallint; e tinyint; f float; g double not null; h boolean; i date; \
             j timestamp; k decimal(12,2) not null; l binary; odd \" name, x string"
        );
    }

    #[test]
    fn errors_name_the_position() {
        for (text, expected) in [
            ("", "expected a column name: position 1"),
            ("a", "column `a` has no type: position 2"),
            ("a int, b innt", "unknown type `innt`: position 10"),
            ("a int b int", "expected `,` or `not null`, found `b`: position 7"),
            ("a int not nul", "expected `null` after `not`: position 11"),
            ("a int, a int", "declared twice: position 8"),
            ("a decimal", "decimal needs a precision"),
            ("a decimal(50,2)", "1 to 38 digits"),
            ("a decimal(x,2)", "expected numbers"),
            ("a decimal(1", "is not closed"),
            ("a int(3)", "takes no arguments"),
            ("\"a int", "is not closed: position 1"),
            ("é int, ü blob", "unknown type `blob`: position 10"),
        ] {
            let error = parse_schema(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[a-z\"(), 0-9é]{0,40}") {
            let _ = parse_schema(&text);
        }
    }
}
