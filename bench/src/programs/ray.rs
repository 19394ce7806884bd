//! What Ray's own microbenchmark prints.

use std::collections::BTreeMap;

/// Means per second by name, of lines such as `single client tasks sync per second 569.1 +- 12.3`.
pub(super) fn parse(printed: &str) -> BTreeMap<String, f64> {
    let line = |line: &str| {
        let (name, numbers) = line.split_once(" per second ")?;
        Some((name.trim().to_owned(), numbers.split(' ').next()?.parse().ok()?))
    };
    printed.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_with_a_rate_count() {
        let printed = "Tip: set TESTS_TO_RUN\n1:1 actor calls sync per second 1255.31 +- 20.5\nclient: get calls per second 906.0 +- 3.0\n";
        let expected = [("1:1 actor calls sync".to_owned(), 1255.31), ("client: get calls".to_owned(), 906.0)];
        assert_eq!(parse(printed), BTreeMap::from(expected));
    }
}
