//! Tables of a job file as JSON: what a function gets as its arguments.

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Located, Section};
use crate::job_file::error::JobFileError;

impl<'d> Section<'_, 'd> {
    /// The table `key` as a JSON object. A string that is nothing but a param has the type of that param.
    pub(crate) fn object(&self, key: &'static str) -> Result<Option<Located<Map<String, Value>>>, JobFileError> {
        let Some(value) = self.raw(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(Located { value: self.members(key, table)?, span: value.span() })),
            _ => Err(self.mismatch(key, value, "a table, written { name = value }")),
        }
    }

    fn members(&self, key: &str, table: &DeTable<'d>) -> Result<Map<String, Value>, JobFileError> {
        table.iter().map(|(name, value)| Ok((name.get_ref().to_string(), self.json(key, value)?))).collect()
    }

    fn json(&self, key: &str, value: &Spanned<DeValue<'d>>) -> Result<Value, JobFileError> {
        Ok(match value.get_ref() {
            DeValue::String(text) => match self.params.typed(text) {
                Some(typed) => typed,
                None => Value::String(self.expect_string(key, value)?.value),
            },
            DeValue::Integer(integer) => {
                let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
                Value::from(number.ok_or_else(|| self.mismatch(key, value, "a whole number of 64 bits"))?)
            }
            DeValue::Float(float) => {
                let number = float.as_str().parse().ok().and_then(Number::from_f64);
                Value::Number(number.ok_or_else(|| self.mismatch(key, value, "a number"))?)
            }
            DeValue::Boolean(boolean) => Value::Bool(*boolean),
            DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
            DeValue::Array(items) => {
                Value::Array(items.iter().map(|item| self.json(key, item)).collect::<Result<_, _>>()?)
            }
            DeValue::Table(table) => Value::Object(self.members(key, table)?),
        })
    }
}
