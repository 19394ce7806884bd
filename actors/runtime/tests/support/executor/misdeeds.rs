//! What an executor should not do.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Signal, getpid, kill_process};
use tandem_actor_protocol::node::ToNode;
use tandem_actor_protocol::{ObjectId, encode};

const MIB: usize = 1 << 20;

pub(crate) fn at_start(what: &str, mut link: &UnixStream) {
    match what {
        "exit" => std::process::exit(3),
        "silence" => sleep(),
        "garbage" => {
            link.write_all(&[0xff; 100]).expect("an open link");
            sleep();
        }
        "nonsense" => {
            link.write_all(&[3, 0, 0, 0, 1, 0, 0, 0, 99, 99, 99]).expect("an open link");
            sleep();
        }
        "flood" => {
            let message = encode(&ToNode::Release(vec![ObjectId(1); 1000]));
            let mut frame = (message.len() as u32).to_le_bytes().to_vec();
            frame.extend([1, 0, 0, 0]);
            frame.extend(message);
            while link.write_all(&frame).is_ok() {}
        }
        "close" => {
            link.shutdown(std::net::Shutdown::Both).expect("an open link");
            sleep();
        }
        other => in_call(other, &[]).clear(),
    }
}

pub(crate) fn in_call(what: &str, args: &[String]) -> String {
    match what {
        "exit" => std::process::exit(args[0].parse().expect("a number")),
        // The first one meets the handler that Rust has for it.
        "crash" => (0..2).for_each(|_| kill_process(getpid(), Signal::SEGV).expect("ourselves")),
        "loop" => loop {
            std::hint::spin_loop();
        },
        "take memory" => {
            let mut all = Vec::new();
            loop {
                all.push(vec![1_u8; MIB]);
            }
        }
        // A child, a grandchild in another session, and an orphan without the variables of its parent.
        "start others" => {
            for script in ["sleep 1000", "setsid sleep 1000 & wait", "env -i setsid sleep 1000 & exit 0"] {
                let mut command = Command::new("sh");
                command.args(["-c", script]).stdin(Stdio::null());
                let child = command.spawn().expect("a shell");
                drop(child);
            }
        }
        "start many" => loop {
            let mut command = Command::new("sleep");
            command.arg("1000").stdin(Stdio::null()).process_group(0);
            if command.spawn().is_err() {
                sleep();
            }
        },
        "print much" => {
            let line = [&[b'y'; 99][..], b"\n"].concat().repeat(10_000);
            let lines: usize = args[0].parse().expect("a number");
            let mut out = std::io::stdout().lock();
            (0..lines / 10_000).for_each(|_| out.write_all(&line).expect("an open pipe"));
        }
        "deaf" => sleep(),
        other => panic!("no function {other}"),
    }
    String::new()
}

fn sleep() -> ! {
    loop {
        std::thread::park();
    }
}
