//! Terminals and readers that go away, signals, and a second process on the same run.
#![cfg(target_os = "linux")]

mod common;

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::{Place, signal, stderr};

const LONG: [&str; 2] = ["--set", "train.steps=100000"];

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "tiny.toml", "--out", out], more].concat()
}

#[track_caller]
fn wait_for_steps(place: &Place, run: &str) {
    let since = Instant::now();
    let metrics = place.at(run).join("metrics.jsonl");
    while !metrics.metadata().is_ok_and(|found| found.len() > 0) {
        assert!(since.elapsed() < Duration::from_secs(60), "no step came");
        sleep(Duration::from_millis(2));
    }
}

/// Lets both readers of a child go away after the first line of standard error.
fn leave(child: &mut Child) {
    drop(child.stdout.take());
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!line.is_empty());
}

fn has_checkpoint(place: &Place, run: &str) -> bool {
    place.names(&format!("{run}/checkpoints")).iter().any(|name| name.starts_with("step-"))
}

#[test]
fn readers_that_go_away_do_not_end_a_run() {
    let place = Place::new();
    place.ok(&train("whole", &[]));
    // Also where a sink writes to the console, and where a table of the time is printed.
    let sinks = ["--set", "telemetry.sinks=[\"jsonl\", \"console\"]"];
    for (run, more) in [("plain", &[][..]), ("sink", &sinks), ("profile", &["--profile"])] {
        let mut child = place.command(&train(run, more)).spawn().unwrap();
        leave(&mut child);
        assert_eq!(child.wait().unwrap().code(), Some(0), "{run}");
        assert_eq!(place.model(run), place.model("whole"));
    }
}

#[test]
fn a_full_disk_under_the_log_does_not_end_a_run() {
    let place = Place::new();
    let full = || File::create("/dev/full").unwrap();
    assert!(place.command(&train("run", &[])).stderr(full()).status().unwrap().success());
    assert!(place.at("run/model/model.safetensors").exists());
    // What a command is run for is another matter.
    for args in [&train("other", &[])[..], &["list", "keys"]] {
        let output = place.command(args).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = stderr(&output);
        assert!(told.contains("error: cannot write standard output: No space left"), "{told}");
    }
    assert!(place.at("other/model/model.safetensors").exists());
}

#[test]
fn a_command_whose_reader_has_enough_ends_quietly() {
    let place = Place::new();
    let commands: [&[&str]; 4] = [
        &["list", "keys"],
        &["schedule", "tiny.toml", "--csv", "--steps", "100000"],
        &["completions", "bash"],
        &["--help"],
    ];
    for args in commands {
        let mut child = place.command(args).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{args:?}");
    }
}

#[test]
fn signals_end_with_their_own_codes_though_nobody_reads() {
    let place = Place::new();
    // A terminal that closes sends SIGHUP once or twice.
    for (names, code) in
        [(&["-INT"][..], 130), (&["-TERM"], 143), (&["-HUP"], 129), (&["-HUP", "-HUP"], 129)]
    {
        let run = format!("run{}", names.concat());
        let json = [&LONG[..], &["--json"]].concat();
        let mut child = place.command(&train(&run, &json)).spawn().unwrap();
        leave(&mut child);
        wait_for_steps(&place, &run);
        for name in names {
            signal(name, child.id());
        }
        assert_eq!(child.wait().unwrap().code(), Some(code), "{run}");
        assert!(has_checkpoint(&place, &run));
    }
}

#[test]
fn under_nohup_a_hangup_is_ignored() {
    let place = Place::new();
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_rappel")]);
    shell.args(train("run", &LONG)).current_dir(place.at("."));
    let mut child = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for_steps(&place, "run");
    signal("-HUP", child.id());
    let before = fs::metadata(place.at("run/metrics.jsonl")).unwrap().len();
    let since = Instant::now();
    while fs::metadata(place.at("run/metrics.jsonl")).unwrap().len() < before + 2000 {
        assert_eq!(child.try_wait().unwrap(), None::<ExitStatus>);
        assert!(since.elapsed() < Duration::from_secs(60), "the run stands still");
        sleep(Duration::from_millis(2));
    }
    signal("-INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_run_is_trained_by_one_process_at_a_time() {
    let place = Place::new();
    let long = ["--set", "train.steps=1500"];
    place.ok(&train("whole", &long));
    let mut child = place.command(&train("run", &long)).spawn().unwrap();
    wait_for_steps(&place, "run");
    for _ in 0..3 {
        let told = place.error(&["train", "--resume", "run"]);
        let holder = format!("run is being trained by process {} on ", child.id());
        assert!(told.contains(&holder) && told.contains(", since 20"), "{told}");
        assert!(told.contains("wait for its end or stop it"), "{told}");
    }
    assert_eq!(child.try_wait().unwrap(), None, "the run was over before it was resumed");
    // A kill releases the lock.
    child.kill().unwrap();
    child.wait().unwrap();
    place.ok(&["train", "--resume", "run"]);
    assert_eq!(place.model("run"), place.model("whole"));
    let lines = |run: &str| place.read(&format!("{run}/metrics.jsonl")).lines().count();
    assert_eq!(lines("run"), lines("whole"));
    assert!(!place.at("none").exists());
    place.error(&["train", "--resume", "none"]);
    assert!(!place.at("none").exists(), "a lock was made where there is no run");
}

#[test]
fn of_processes_that_begin_in_one_empty_folder_one_runs() {
    let place = Place::new();
    for round in 0..12 {
        let run = format!("run-{round}");
        fs::create_dir(place.at(&run)).unwrap();
        let begin = |seed: &str| {
            place
                .command(&train(&run, &["--set", seed, "--set", "train.steps=300"]))
                .spawn()
                .unwrap()
        };
        let children = [begin("seed=1"), begin("seed=2"), begin("seed=3")];
        let ended = children.map(|child| child.wait_with_output().unwrap());
        let codes = ended.each_ref().map(|output| output.status.code());
        let told = ended.each_ref().map(stderr);
        let winner = codes.iter().position(|code| *code == Some(0));
        let winner = winner.unwrap_or_else(|| panic!("none ran: {told:?}"));
        for (i, (code, told)) in codes.iter().zip(&told).enumerate().filter(|(i, _)| *i != winner) {
            assert_eq!(*code, Some(1), "{i}: {told}");
            let refused = told.contains(&format!("{run} is being trained by process"))
                || told.contains(&format!("{run} is not empty"));
            assert!(refused, "{told}");
        }
        let config = place.read(&format!("{run}/config.toml"));
        assert!(
            config.contains(&format!("seed = {}\n", winner + 1)),
            "another one's config: {config}"
        );
        assert!(place.at(&run).join("model/model.safetensors").exists());
    }
}

/// What a command writes to a terminal of this kind; none where there is no `script` to make one.
fn on_terminal(place: &Place, kind: &str, args: &[&str]) -> Option<String> {
    let words = [&[env!("CARGO_BIN_EXE_rappel")], args].concat();
    let mut script = Command::new("script");
    script.args(["-qec", &words.join(" "), "/dev/null"]).env("TERM", kind);
    let output = script.current_dir(place.at(".")).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    Some(text)
}

#[test]
fn a_terminal_that_cannot_draw_gets_plain_lines() {
    let place = Place::new();
    let Some(plain) = on_terminal(&place, "dumb", &train("dumb", &[])) else {
        eprintln!("skipped: there is no `script`, which makes a terminal");
        return;
    };
    assert!(!plain.contains('\u{1b}'), "{plain:?}");
    let lines: Vec<&str> = plain.lines().collect();
    for begin in [
        "reading the corpus",
        "run         dumb",
        "parameters  ",
        "step 1/24  loss ",
        "step 24/24  loss ",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(begin)), "{begin}: {plain}");
    }
    // Nothing is drawn over.
    assert!(plain.split("\r\n").all(|line| !line.contains('\r')), "{plain:?}");
    // One that can gets a bar.
    let drawn = on_terminal(&place, "xterm", &train("xterm", &[])).unwrap();
    assert!(drawn.contains("\u{1b}["), "{drawn:?}");
    assert_eq!(place.model("dumb"), place.model("xterm"));
}
