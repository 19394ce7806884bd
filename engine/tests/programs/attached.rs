//! Files that are attached to programs.

use std::fs::{self, File};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use crate::support::Sandbox;
use crate::{program, submit, submit_with};

#[test]
fn attached_files_are_read_by_their_names_on_every_worker_and_gone_afterwards() {
    let sandbox = Sandbox::with_cluster(3);
    fs::create_dir_all(sandbox.work().join("data/deep")).expect("a folder");
    sandbox.write("data/deep/words", "stop");
    sandbox.write("data/top", "first");
    let options = ["--attach", "data", "--attach", "data/top=other/name"];
    let names = ["data/deep/words", "data/top", "other/name"];
    let on_each: String = (1..=3).map(|worker| format!("worker-{worker} stop first first\n")).collect();
    let seen = || submit_with(&sandbox, &options, "reader", &names).succeeded().stdout;
    assert_eq!(seen(), format!("{on_each}main stop first first\n"));
    sandbox.write("data/top", "second");
    assert_eq!(seen(), format!("{}main stop second second\n", on_each.replace("first", "second")));

    submit(&sandbox, "reader", &["top"]).ended_with(1).tells(&["no file `top` is attached to this job", "--attach"]);
    submit_with(&sandbox, &["--attach", "data"], "reader", &["top"])
        .ended_with(1)
        .tells(&["no file `top` is attached to this job"]);
}

#[test]
fn attached_files_come_from_the_coordinator_when_nobody_else_has_them() {
    let sandbox = Sandbox::with_cluster(1);
    sandbox.run(&["cluster", "scale", "0"]).succeeded();
    let text = sandbox.write("text", "kept");
    let options = ["--no-wait", "--attach", "text"];
    let job = submit_with(&sandbox, &options, "reader", &["text"]).succeeded().stdout;
    fs::remove_file(text).expect("a file");
    sandbox.run(&["cluster", "scale", "2"]).succeeded();
    sandbox.run(&["job", "wait", job.trim()]).succeeded();
    let logs = sandbox.run(&["job", "logs", job.trim()]).succeeded().stdout;
    assert!(logs.contains("worker-2 kept") && logs.contains("main kept"), "{logs}");
}

/// A tar archive of a file, and of a link.
fn archive(path: &Path, file: &str, text: &str, link: (&str, &str)) {
    let mut archive = Builder::new(File::create(path).expect("a file"));
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(text.len() as u64);
    archive.append_data(&mut header, file, text.as_bytes()).expect("an entry");
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, link.0, link.1).expect("an entry");
    archive.finish().expect("an archive");
}

#[test]
fn attached_archives_are_folders_on_every_worker() {
    let sandbox = Sandbox::with_cluster(2);
    archive(&sandbox.work().join("model.tar"), "deep/weights", "heavy", ("latest", "deep/weights"));
    let options = ["--attach", "model.tar=data/model/", "--attach", "model.tar=data/second/"];
    let names = ["data/model/deep/weights", "data/model/latest", "data/second/latest"];
    let seen = submit_with(&sandbox, &options, "reader", &names).succeeded().stdout;
    let on_each: String = (1..=2).map(|worker| format!("worker-{worker} heavy heavy heavy\n")).collect();
    assert_eq!(seen, format!("{on_each}main heavy heavy heavy\n"));
}

#[test]
fn an_archive_that_leads_out_of_its_folder_is_refused_when_it_is_submitted() {
    let sandbox = Sandbox::with_cluster(1);
    archive(&sandbox.work().join("evil.tar"), "a", "b", ("latest", "/etc/passwd"));
    let reader = program("reader");
    let submit = |attach: &str| sandbox.run(&["job", "submit", &reader, "--attach", attach]);
    let refused = "cannot attach evil.tar to be unpacked: `latest` is refused: it links to `/etc/passwd`";
    submit("evil.tar=model/").ended_with(2).tells(&[refused]);
    submit("/etc/hostname=model/")
        .ended_with(2)
        .tells(&["cannot attach /etc/hostname to be unpacked: it is no archive"]);
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(0));
}

#[test]
fn what_cannot_be_attached_is_refused_before_anything_runs() {
    let sandbox = Sandbox::with_cluster(1);
    let reader = program("reader");
    let submit = |options: &[&str]| sandbox.run(&[&["job", "submit", &reader][..], options].concat());
    submit(&["--attach", "nowhere"]).ended_with(3).tells(&["cannot attach nowhere: No such file"]);
    submit(&["--attach", "/etc/hostname=../x"]).ended_with(2).tells(&["`../x` cannot be the name of an attached file"]);
    let twice = ["--attach", "/etc/hostname=x", "--attach", "/etc/hosts=x"];
    submit(&twice).ended_with(2).tells(&["two attached files are called `x`"]);
    sandbox
        .run(&["job", "submit", "sales", "--attach", "/etc/hosts"])
        .ended_with(2)
        .tells(&["`--attach /etc/hosts` is for programs"]);
    let jobs = sandbox.run(&["job", "list", "-o", "json"]).succeeded().json();
    assert_eq!(jobs.as_array().map(Vec::len), Some(0));
}
