//! What every walk of `tofu` pays, three times a plan: time to the handshake, GetSchema, memory; as ratios against a process that
//! does nothing, measured in the same run. Started by `make bench`. `PLUGIN_BINARY` is the binary to measure, where it is not this build's.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a benchmark fails by panicking

#[path = "../tests/common/plugin.rs"]
#[allow(dead_code)]
mod plugin;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use karpenter::plugin::proto::tfplugin5;
use plugin::{Plugin, Start};

const RUNS: usize = 30;

/// One start of the plugin, as a client sees it.
struct Sample {
    handshake: Duration,
    connect: Duration,
    schema: Duration,
    shutdown: Duration,
    peak_kib: u64,
}

#[tokio::main]
async fn main() {
    let binary = std::env::var("PLUGIN_BINARY").unwrap_or_else(|_| plugin::BINARY.to_owned());
    let nothing = median((0..RUNS).map(|_| do_nothing()).collect());
    let nothing_kib = do_nothing_peak_kib();
    let mut samples = vec![];
    for _ in 0..RUNS {
        samples.push(start(&binary).await);
    }
    let size = std::fs::metadata(&binary).unwrap().len();

    println!("{binary}, medians of {RUNS} starts");
    println!("{:<24} {:>10} {:>12}   budget", "", "", "x nothing");
    let time = |what: &str, time: Duration, budget: &str| {
        println!("{what:<24} {:>7.1} ms {:>12.1}   {budget}", time.as_secs_f64() * 1e3, time.as_secs_f64() / nothing.as_secs_f64());
    };
    time("nothing (true)", nothing, "");
    time("to the handshake", median(samples.iter().map(|s| s.handshake).collect()), "10 ms");
    time("TLS connection", median(samples.iter().map(|s| s.connect).collect()), "");
    time("GetSchema", median(samples.iter().map(|s| s.schema).collect()), "20 ms");
    time("Shutdown to its end", median(samples.iter().map(|s| s.shutdown).collect()), "2000 ms");
    let peak = samples.iter().map(|s| s.peak_kib).max().unwrap_or_default();
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!("{:<24} {:>7.1} MiB {:>11.1}   40 MB at 1,000 pools", "peak memory", mib(peak), mib(peak) / mib(nothing_kib));
    println!("{:<24} {:>7.1} MiB {:>11}   30 MB", "binary", mib(size >> 10), "");
    assert!(size <= 30_000_000, "the binary is over its budget: {size} bytes");
}

async fn start(binary: &str) -> Sample {
    let plugin = Plugin::start_with(Start { command: vec![binary.to_owned()], ..Start::default() }).await;
    let handshake = plugin.took;
    let started = Instant::now();
    let mut provider = plugin.provider().await;
    let connect = started.elapsed();
    let asked = Instant::now();
    provider.get_schema(tfplugin5::get_provider_schema::Request {}).await.unwrap();
    let schema = asked.elapsed();
    let peak_kib = peak_kib(plugin.pid());
    let (_, shutdown) = plugin.shutdown().await;
    Sample { handshake, connect, schema, shutdown, peak_kib }
}

/// Start and end of a process that does nothing.
fn do_nothing() -> Duration {
    let started = Instant::now();
    assert!(Command::new("true").status().unwrap().success());
    started.elapsed()
}

fn do_nothing_peak_kib() -> u64 {
    let mut idle = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(100));
    let peak = peak_kib(idle.id());
    drop(idle.stdin.take());
    idle.wait().unwrap();
    peak
}

/// The kernel's high-water mark of resident memory.
fn peak_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
