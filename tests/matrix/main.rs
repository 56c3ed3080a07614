//! What can happen to a bundle in the middle of an apply: the plugin is killed around every call that writes, and every call of it fails
//! in every way. The plugin is driven over gRPC, without a CLI; what verifies is boto3 and the API server, in `census.py`.
//!
//! `make test` plays a sample (`MATRIX_CELLS`, `MATRIX_SEED`), `make matrix` every cell (`MATRIX_CELLS=all`) on `MATRIX_STAGES` labs at
//! once, for at most `MATRIX_MINUTES`; `MATRIX_ONLY` is a text that cells must contain, or several with `|` between them, `MATRIX_PROVIDER`
//! another binary than this build's.
//! One line a cell, and totals.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/plugin.rs"]
#[allow(dead_code)]
mod plugin;
#[path = "../oracle/random.rs"]
#[allow(dead_code)] // the oracle uses the rest
mod random;

mod behind_our_back;
mod cells;
mod client;
mod destroy;
mod orphans;
mod others;
mod play;
mod stage;

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use cells::{Baseline, Cell};
use stage::Stage;

fn variable<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn whatever_happens_to_a_call_the_next_apply_converges() {
    let first = stage::shared();
    let baseline = Baseline::of(&first);
    println!("{}", baseline.summary());
    let only = std::env::var("MATRIX_ONLY").unwrap_or_default();
    let mut all = baseline.cells();
    let there_are = all.len();
    all.retain(|cell| only.split('|').any(|text| cell.to_string().contains(text)));
    let seed = variable("MATRIX_SEED", 1);
    let chosen = match std::env::var("MATRIX_CELLS").as_deref() {
        Ok("all") => {
            random::Random::new(seed).shuffle(&mut all);
            // those that wait for a timeout come last: a cap on the time then costs few cells
            all.sort_by_key(|cell| cell.event == cells::Event::TimedOut);
            all
        }
        _ => cells::sample(all, variable("MATRIX_CELLS", 8), seed),
    };
    println!("{} of {there_are} cells, seed {seed}", chosen.len());

    let end = Instant::now() + Duration::from_secs(60 * variable("MATRIX_MINUTES", 24 * 60));
    let queue = Mutex::new(VecDeque::from(chosen));
    let (totals, failures) = (Mutex::new(BTreeMap::<String, usize>::new()), Mutex::new(vec![]));
    let work = |stage: &Stage| {
        while Instant::now() < end {
            let Some(cell) = queue.lock().unwrap().pop_front() else { return };
            let (verdict, failure) = one(stage, &baseline, &cell);
            *totals.lock().unwrap().entry(format!("{:?} {verdict}", cell.event)).or_default() += 1;
            failures.lock().unwrap().extend(failure);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..variable("MATRIX_STAGES", 1) {
            scope.spawn(|| work(&Stage::start()));
        }
        work(&first);
    });
    let (totals, failures, left) = (totals.into_inner().unwrap(), failures.into_inner().unwrap(), queue.into_inner().unwrap().len());
    println!("totals: {totals:#?}");
    println!("{} cells played, {} failed, {left} not played", totals.values().sum::<usize>(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Plays a cell and prints its line; the verdict's word, and what failed.
fn one(stage: &Stage, baseline: &Baseline, cell: &Cell) -> (String, Option<String>) {
    let began = Instant::now();
    let played = catch_unwind(AssertUnwindSafe(|| play::play(stage, baseline, cell)));
    let played = played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
        Err(text.unwrap_or_else(|| "it panicked".to_owned()))
    });
    let seconds = began.elapsed().as_secs_f64();
    match played {
        Ok(verdict) => {
            println!("{cell}  {verdict:?}  {seconds:.1} s");
            (format!("{verdict:?}"), None)
        }
        Err(why) => {
            println!("{cell}  FAILED  {seconds:.1} s\n    {why}");
            ("FAILED".to_owned(), Some(format!("{cell}: {why}")))
        }
    }
}
