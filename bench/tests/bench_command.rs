//! `candlepower bench` as it is called.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    unreachable_pub,
    reason = "tests may stop at the first surprise, and share modules"
)]
mod common;
mod stand_in;

use candlepower_bench::{figures::Figures, record_files};
use common::alone;
use stand_in::{StandIn, laws::Laws};
use std::{
    fs::File,
    io::Read,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

fn bench(server: &StandIn, flags: &[&str]) -> Output {
    let fixed = [
        "--duration",
        "2s",
        "--output-tokens",
        "5",
        "--prompt-mix",
        "32",
    ];
    Command::new(env!("CARGO_BIN_EXE_candlepower"))
        .args(["bench", &server.url()])
        .args(fixed)
        .args(flags)
        .output()
        .unwrap()
}

fn server() -> StandIn {
    StandIn::start(Laws {
        first_token: Duration::from_millis(30),
        per_token: Duration::from_millis(10),
        ..Laws::default()
    })
}

/// The same until the machine is quiet: where the load generator itself was held up, it rightly gives no
/// verdict.
fn bench_undisturbed(server: &StandIn, flags: &[&str]) -> Output {
    let undisturbed = |output: &Output| output.status.code() != Some(4);
    let mut attempts = (0..5).map(|_| bench(server, flags));
    attempts
        .find(undisturbed)
        .unwrap_or_else(|| bench(server, flags))
}

/// What is wrong with an output, for messages.
fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

#[test]
fn it_prints_the_figures_and_writes_the_records() {
    let _alone = alone();
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let flags = ["--users", "1,3", "--out", out.to_str().unwrap()];
    let output = bench(&server, &flags);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [
        "users-1",
        "users-3",
        "TTFT-P95",
        "request sent",
        "exact by the target's own",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let run = record_files::read(&out).unwrap();
    assert_eq!(run.scenarios.len(), 2);
    let figures = Figures::of(&run.scenarios[1]);
    assert!(figures.succeeded > 20, "{figures:?}");
    let again = bench(&server, &flags);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        said(&again).contains("already holds a run"),
        "{}",
        said(&again)
    );
}

#[test]
fn a_disk_that_fills_up_costs_the_records_that_do_not_fit_and_nothing_else() {
    let _alone = alone();
    let server = server();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // No file may be longer than 8 KiB: the records of one user's answers fit, those of 30 users' do not.
    let limited = "trap '' XFSZ; ulimit -f 16; exec \"$@\"";
    let output = Command::new("sh")
        .args([
            "-c",
            limited,
            "sh",
            env!("CARGO_BIN_EXE_candlepower"),
            "bench",
            &server.url(),
        ])
        .args([
            "--users",
            "1,30",
            "--duration",
            "2s",
            "--output-tokens",
            "5",
            "--prompt-mix",
            "32",
        ])
        .args(["--out", out.to_str().unwrap()])
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("users-30"), "the figures are printed: {said}");
    assert!(
        said.contains("need a folder that can be written and has space"),
        "{said}"
    );
    let run = record_files::read(&out).unwrap();
    let names: Vec<_> = run.scenarios.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["users-1"]);
    assert!(!run.scenarios[0].requests.is_empty());
}

#[test]
fn the_exit_code_says_whether_objectives_were_met() {
    let _alone = alone();
    let server = server();
    let code = |flags: &[&str]| bench_undisturbed(&server, flags).status.code();
    let met = ["--users", "1", "--objective", "ttft-p95=2s"];
    assert_eq!(code(&met), Some(0));
    let missed = ["--users", "1", "--objective", "ttft-p50=5ms"];
    assert_eq!(code(&missed), Some(3));
    let nothing = ["--users", "1", "--timeout", "1ms"];
    assert_eq!(bench(&server, &nothing).status.code(), Some(4));
}

#[test]
fn json_has_the_verdicts_for_programs() {
    let _alone = alone();
    let server = server();
    let flags = ["--rate", "20", "--objective", "ttft-p50=2s", "-o", "json"];
    let output = bench_undisturbed(&server, &flags);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["outcome"], "met", "{json}");
    assert_eq!(json["scenarios"][0]["verdicts"][0]["met"], true, "{json}");
    let rate = json["scenarios"][0]["figures"]["requestsPerSecond"].as_f64();
    assert!(rate.is_some_and(|rate| rate > 8.0 && rate < 35.0), "{json}");
}

/// A run of a minute, which nobody waits for.
fn long(server: &StandIn) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_candlepower"));
    command.args(["bench", &server.url(), "--users", "2"]);
    command.args([
        "--duration",
        "60s",
        "--warm-up",
        "0s",
        "--output-tokens",
        "5",
    ]);
    command.args(["--prompt-mix", "32", "--objective", "ttft-p50=1ms"]);
    command
}

#[test]
fn ctrl_c_keeps_the_figures_and_gives_no_verdict() {
    let _alone = alone();
    let server = server();
    let child = long(&server)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while server.log().len() < 20 {
        thread::sleep(Duration::from_millis(20));
    }
    let pid = child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let output = child.wait_with_output().unwrap();
    let text = said(&output);
    // The objective was missed, which the end of a run may not have been.
    assert_eq!(output.status.code(), Some(4), "{text}");
    for part in [
        "Ctrl-C again leaves",
        "users-2",
        "ended early: the run was interrupted",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_terminal_shows_rate_latencies_and_errors_anew_each_time() {
    let _alone = alone();
    let server = StandIn::start(Laws {
        first_token: Duration::from_millis(30),
        per_token: Duration::from_millis(10),
        error_rate: 0.3,
        ..Laws::default()
    });
    let terminal = nix::pty::openpty(None, None).unwrap();
    // The command holds the terminal's other end until it is dropped.
    let child = Command::new(env!("CARGO_BIN_EXE_candlepower"))
        .args(["bench", &server.url(), "--users", "2", "--duration", "3s"])
        .args(["--output-tokens", "5", "--prompt-mix", "32"])
        .stdout(Stdio::null())
        .stderr(Stdio::from(terminal.slave))
        .spawn();
    let mut child = child.unwrap();
    let mut shown = Vec::new();
    // It ends with an error where nobody holds the other end any more.
    let _ = File::from(terminal.master).read_to_end(&mut shown);
    child.wait().unwrap();
    let shown = String::from_utf8_lossy(&shown);
    let last = shown.rsplit("rate    ").next().unwrap();
    assert!(shown.matches("rate    ").count() > 2, "{shown:?}");
    assert!(shown.contains("\u{1b}["), "lines are drawn over: {shown:?}");
    for part in [
        " tokens/s  ",
        "TTFT    P50 ",
        "TPOT    P50 ",
        " answered, ",
        " Server",
    ] {
        assert!(last.contains(part), "{part}: {shown:?}");
    }
}
