//! Tables that programs make of tables.

use crate::submit;
use crate::support::Sandbox;

#[test]
fn tasks_and_actors_make_of_a_table_on_all_workers_what_sql_makes_of_it() {
    let sandbox = Sandbox::with_cluster(3);
    // A part is larger than a message, so that it stays where it is made.
    let finished = submit(&sandbox, "mapped", &["30", "20000"]).succeeded();
    let lines: Vec<&str> = finished.stdout.lines().collect();
    assert_eq!(lines[..2], ["3 workers", "4 at once"], "{}", finished.stdout);
    assert!(lines[2].starts_with("Returned: ") && lines[2].contains("20000 cannot be squared"), "{}", lines[2]);
    assert_eq!(lines[3..], [r#"0 rows of {"square"}"#, "right"], "{}", finished.stdout);
}
