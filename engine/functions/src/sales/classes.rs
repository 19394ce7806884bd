//! Which class a product is in, and what to do about it.

use serde::Deserialize;

use crate::error::CallError;

/// The arguments of `product-analysis`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Classes {
    /// Revenue above which a product is a high performer.
    high: f64,
    /// Revenue above which a product that is no high performer is a medium one.
    medium: f64,
    /// What to do about each.
    high_text: String,
    medium_text: String,
    low_text: String,
}

impl Default for Classes {
    fn default() -> Self {
        Self {
            high: 3000.0,
            medium: 1500.0,
            high_text: "Increase inventory and marketing".to_owned(),
            medium_text: "Maintain current strategy".to_owned(),
            low_text: "Consider promotion or discontinuation".to_owned(),
        }
    }
}

impl Classes {
    /// The classes that `args`, a JSON object, say.
    pub(super) fn parse(args: &str) -> Result<Self, CallError> {
        let wrong = |error: serde_json::Error| CallError::args(&error);
        // By way of a map, since serde takes an array for a struct too.
        let args: serde_json::Map<String, serde_json::Value> = serde_json::from_str(args).map_err(wrong)?;
        let classes: Self = serde_json::from_value(args.into()).map_err(wrong)?;
        if classes.medium > classes.high {
            let Self { high, medium, .. } = classes;
            return Err(CallError::Args(format!("medium = {medium} is more than high = {high}")));
        }
        Ok(classes)
    }

    /// Class and advice of a product with this revenue. The bounds themselves belong to the class below; so do products
    /// without a revenue, which are low performers.
    pub(super) fn of(&self, revenue: Option<f64>) -> (&'static str, &str) {
        match revenue {
            Some(revenue) if revenue > self.high => ("High Performer", &self.high_text),
            Some(revenue) if revenue > self.medium => ("Medium Performer", &self.medium_text),
            _ => ("Low Performer", &self.low_text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_belong_to_the_class_below() {
        let classes = Classes::parse("{}").unwrap();
        for (revenue, class) in [
            (Some(3000.01), "High Performer"),
            (Some(3000.0), "Medium Performer"),
            (Some(1500.01), "Medium Performer"),
            (Some(1500.0), "Low Performer"),
            (Some(0.0), "Low Performer"),
            (Some(-1.0), "Low Performer"),
            (Some(f64::NAN), "Low Performer"),
            (None, "Low Performer"),
        ] {
            assert_eq!(classes.of(revenue).0, class, "{revenue:?}");
        }
    }

    #[test]
    fn bounds_and_texts_can_be_set() {
        let classes = Classes::parse(r#"{"high": 10, "medium": 5.5, "low_text": "stop"}"#).unwrap();
        assert_eq!(classes.of(Some(10.5)), ("High Performer", "Increase inventory and marketing"));
        assert_eq!(classes.of(Some(6.0)), ("Medium Performer", "Maintain current strategy"));
        assert_eq!(classes.of(Some(5.5)), ("Low Performer", "stop"));
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (args, expected) in [
            (r#"{"hihg": 1}"#, "unknown field `hihg`"),
            (r#"{"high": "much"}"#, "invalid type: string \"much\""),
            (r#"{"high": 1, "medium": 2}"#, "medium = 2 is more than high = 1"),
            ("[]", "invalid"),
        ] {
            let error = Classes::parse(args).unwrap_err().to_string();
            assert!(error.contains(expected) && !error.contains(" line "), "{args}: {error}");
        }
    }
}
