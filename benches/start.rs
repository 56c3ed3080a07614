//! What every walk of `tofu` pays: time to the handshake, GetSchema, and memory, as ratios against a process that does nothing; and
//! the release binary's size, which fails the run when it is over its budget. Started by `make bench`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)] // a benchmark fails by panicking

#[path = "../tests/common/plugin.rs"]
mod plugin;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use karpenter::plugin::proto::tfplugin5;
use plugin::Plugin;

const RUNS: usize = 30;
const SIZE_BUDGET: u64 = 30 << 20;

/// One start of the plugin, as a client sees it.
struct Sample {
    handshake: Duration,
    schema: Duration,
    peak_kib: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let nothing = median((0..RUNS).map(|_| do_nothing()).collect());
    let nothing_kib = do_nothing_peak();
    let mut samples = vec![];
    for _ in 0..RUNS {
        samples.push(start().await);
    }
    let handshake = median(samples.iter().map(|s| s.handshake).collect());
    let schema = median(samples.iter().map(|s| s.schema).collect());
    let peak = samples.iter().map(|s| s.peak_kib).max().unwrap_or_default();
    let size = std::fs::metadata(plugin::BINARY).unwrap().len();

    println!("medians of {RUNS} starts; a process that does nothing: {:.1} ms, {nothing_kib} KiB", ms(nothing));
    println!("  handshake     {:7.1} ms   {:5.1} x nothing   budget 10 ms", ms(handshake), ms(handshake) / ms(nothing));
    println!("  GetSchema     {:7.1} ms   {:5.1} x nothing   budget 20 ms", ms(schema), ms(schema) / ms(nothing));
    println!("  peak memory   {:7.1} MiB  {:5.1} x nothing   budget 40 MB at 1,000 pools", mib(peak << 10), peak as f64 / nothing_kib as f64);
    println!("  binary        {:7.1} MiB                    budget 30 MiB", mib(size));
    if size > SIZE_BUDGET {
        println!("the binary is over its budget");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn start() -> Sample {
    let plugin = Plugin::start().await;
    let mut provider = plugin.provider().await; // the TLS handshake is the client's cost as much as ours
    let asked = Instant::now();
    provider.get_schema(tfplugin5::get_provider_schema::Request::default()).await.unwrap();
    let sample = Sample { handshake: plugin.took, schema: asked.elapsed(), peak_kib: peak_kib(plugin.pid()) };
    plugin.shutdown().await;
    sample
}

/// Start and end of a process that does nothing.
fn do_nothing() -> Duration {
    let started = Instant::now();
    assert!(Command::new("true").status().unwrap().success());
    started.elapsed()
}

fn do_nothing_peak() -> u64 {
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
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
