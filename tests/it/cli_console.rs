//! The console through the real binary on a pseudo-terminal: it takes the terminal, does what keys say to the session
//! that commands see, and gives the terminal back however it ends.

#![expect(clippy::disallowed_methods, reason = "a process on a pseudo-terminal is started by hand")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cli::{Home, binary, search_path, text};

/// A candidate before a terminal.
struct Seat {
    child: Child,
    keys: File,
    terminal: OwnedFd,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Seat {
    fn new(home: &Home) -> Self {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let both = openpty(&size, None).unwrap();
        let slave = || both.slave.try_clone().unwrap();
        let child = Command::new(binary())
            .arg("exam")
            .env_clear()
            .env("PATH", search_path())
            .env("HOME", home.home())
            .env("CKS_LAB_HOME", home.state())
            .env("TERM", "xterm")
            .stdin(slave())
            .stdout(slave())
            .stderr(slave())
            .spawn()
            .unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let mut screen = File::from(both.master.try_clone().unwrap());
        let kept = seen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                kept.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { child, keys: File::from(both.master), terminal: both.slave, seen }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap()).into_owned()
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether lines are read whole, as a shell wants it.
    fn is_as_before(&self) -> bool {
        let flags = tcgetattr(&self.terminal).unwrap().local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO)
    }

    async fn ended(mut self) {
        let status = until(|| self.child.try_wait().unwrap()).await;
        assert!(self.is_as_before(), "the terminal was not given back");
        until(|| self.screen().contains(LEAVES).then_some(())).await;
        assert_eq!(status.code(), Some(0), "{}", self.screen());
    }
}

/// What takes the screen, and what gives it back.
const TAKES: &str = "\x1b[?1049h";
const LEAVES: &str = "\x1b[?1049l";

async fn until<T>(mut there: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(found) = there() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("it did not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_takes_the_terminal_and_gives_it_back() {
    let home = Home::new();
    let args = ["exam", "start", "--tasks", "2", "--variant", "4", "--provider", "sim", "--yes"];
    let started = home.json(0, &args).await;
    let mut seat = Seat::new(&home);
    until(|| seat.screen().contains("Task 1 of 2").then_some(())).await;
    assert!(seat.screen().contains(TAKES));
    assert!(seat.screen().contains(text(&started["tasks"][0]["host"])));
    assert!(!seat.is_as_before());

    // What is typed here is seen by commands.
    seat.press("f");
    seat.press("2\r");
    let mut status = Value::Null;
    for _ in 0..600 {
        status = home.json(0, &["exam", "status"]).await;
        if status["tasks"][0]["flagged"] == true && status["current"] == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((&status["tasks"][0]["flagged"], &status["current"]), (&Value::Bool(true), &Value::from(2)));
    seat.press("\x03");
    seat.ended().await;
    assert_eq!(home.json(0, &["exam", "status"]).await["state"], "running", "the exam goes on");

    let asked = Seat::new(&home);
    until(|| asked.screen().contains("Task 2 of 2").then_some(())).await;
    kill(Pid::from_raw(asked.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    asked.ended().await;
    home.expect(0, &["exam", "abort", "--yes"]).await;
}
