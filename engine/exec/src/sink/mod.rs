//! Sinks: files written aside by tasks and published together by the coordinator.
