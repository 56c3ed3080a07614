//! What 10, 100 and 1,000 pools cost: calls, wall time, the provider's own CPU and memory, as ratios against the time that `tofu` takes
//! for as many `terraform_data` resources in the same run. Started by `make bench`. The calls go through the counting proxy, whose
//! time is part of the wall time. `PLUGIN_BINARY` is the binary to measure, `BENCH_SIZES` (`10,100`) other numbers of pools.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a benchmark fails by panicking

#[path = "../tests/common/mod.rs"]
mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Lab, Options, Proxy, Tofu};

/// Peak memory at 1,000 pools, in bytes.
const BUDGET: u64 = 40_000_000;

/// Starts the plugin, and writes down what it used: `wait4` knows CPU and memory of one child.
const SHIM: &str = r#"
import os, sys
pid = os.posix_spawn(REAL, [REAL, *sys.argv[1:]], os.environ)
_, status, used = os.wait4(pid, 0)
with open(LOG, "a") as log:
    log.write(f"{used.ru_utime + used.ru_stime} {used.ru_maxrss}\n")
sys.exit(os.waitstatus_to_exitcode(status))
"#;

const POOLS: &str = r#"
provider "karpenter" {
  cluster_name = "bench"
}
resource "karpenter_nodepool" "all" {
  for_each = toset([for i in range(var.size) : "pool-${i}"])
  name     = each.key
  weight   = var.weight
  limits   = { cpu = "1000", memory = "4000Gi" }
  template {
    expire_after = "48h"
    node_class_ref {
      name = "default"
    }
    requirements = {
      "kubernetes.io/arch"               = ["arm64"]
      "karpenter.sh/capacity-type"       = ["on-demand", "spot"]
      "node.kubernetes.io/instance-type" = ["r8g.large", "r8g.xlarge"]
    }
    taint {
      key    = each.key
      effect = "NoSchedule"
    }
  }
}
"#;

const NOTHING: &str = r#"
resource "terraform_data" "all" {
  for_each = toset([for i in range(var.size) : "pool-${i}"])
  input    = var.weight
}
"#;

const VARIABLES: &str = "\nvariable \"size\" {\n  type = number\n}\nvariable \"weight\" {\n  type = number\n}\n";

fn main() {
    let sizes = std::env::var("BENCH_SIZES").unwrap_or_else(|_| "10,100,1000".into());
    let binary = std::env::var("PLUGIN_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_terraform-provider-karpenter").into());
    let lab = Lab::start(Options { cluster_name: "bench".into(), ..Options::default() });
    lab.install_crds();
    // a foreground delete waits for the garbage collector, which learns of new kinds every 30 s only
    let first = workspace(&lab, POOLS, 1);
    first.run(&["apply", "-auto-approve", "-var=weight=5"]).ok();
    first.run(&["destroy", "-auto-approve", "-var=weight=5"]).ok();
    println!("{binary}; wall and CPU also as multiples of tofu's time for as many terraform_data");
    println!("{:>5}  {:<12} {:>6} {:>9} {:>7} {:>9} {:>7} {:>10}", "pools", "", "calls", "wall", "x tofu", "own CPU", "x tofu", "peak");
    for size in sizes.split(',').map(|size| size.trim().parse().expect("BENCH_SIZES are numbers")) {
        bench(&lab, Path::new(&binary), size);
    }
}

/// A measured workspace, and one of `terraform_data` beside it.
struct Bench {
    proxy: Proxy,
    pools: Tofu,
    nothing: Tofu,
    log: PathBuf,
    size: usize,
}

fn workspace(lab: &Lab, hcl: &str, size: usize) -> Tofu {
    Tofu::new(lab, &format!("{hcl}{VARIABLES}")).var("size", &size.to_string())
}

fn bench(lab: &Lab, binary: &Path, size: usize) {
    let proxy = lab.proxy();
    let (pools, nothing) = (workspace(lab, POOLS, size).through(&proxy), workspace(lab, NOTHING, size));
    let log = measured(lab, &pools, binary);
    let bench = Bench { proxy, pools, nothing, log, size };
    let [create, update] = [["-var=weight=5"], ["-var=weight=6"]];
    bench.step("create", &[&["apply", "-auto-approve"], &create[..]].concat());
    bench.step("no-op plan", &[&["plan", "-detailed-exitcode"], &create[..]].concat());
    bench.step("update", &[&["apply", "-auto-approve"], &update[..]].concat());
    bench.step("destroy", &[&["destroy", "-auto-approve"], &update[..]].concat());
}

/// Has the client start the shim instead of the plugin; where the shim writes to.
fn measured(lab: &Lab, tofu: &Tofu, binary: &Path) -> PathBuf {
    let (directory, log) = (tofu.dir().join(".measured"), tofu.dir().join(".used"));
    std::fs::create_dir(&directory).unwrap();
    let shim = directory.join("terraform-provider-karpenter");
    // isolated and without site packages: it starts in a few milliseconds
    let text =
        format!("#!{} -IS\nREAL, LOG = {:?}, {:?}{SHIM}", lab.var("LAB_PYTHON"), binary.display().to_string(), log.display().to_string());
    std::fs::write(&shim, text).unwrap();
    std::fs::set_permissions(&shim, PermissionsExt::from_mode(0o755)).unwrap();
    let rc = tofu.dir().join(".tofurc");
    let built = Path::new(env!("CARGO_BIN_EXE_terraform-provider-karpenter")).parent().unwrap();
    let text = std::fs::read_to_string(&rc)
        .unwrap()
        .replace(&format!("{:?}", built.display().to_string()), &format!("{:?}", directory.display().to_string()));
    std::fs::write(&rc, text).unwrap();
    log
}

impl Bench {
    fn step(&self, what: &str, args: &[&str]) {
        let timed = |tofu: &Tofu| {
            let started = Instant::now();
            tofu.run(args).ok();
            started.elapsed()
        };
        let nothing = timed(&self.nothing);
        self.proxy.reset();
        std::fs::write(&self.log, "").unwrap();
        let wall = timed(&self.pools);
        let calls = self.proxy.calls().len();
        let used = std::fs::read_to_string(&self.log).unwrap();
        let of = |at: usize| used.lines().map(move |line| line.split(' ').nth(at).unwrap().parse::<f64>().unwrap());
        let cpu = Duration::from_secs_f64(of(0).sum());
        let peak = of(1).fold(0.0, f64::max) * 1024.0;
        let times = |time: Duration| time.as_secs_f64() / nothing.as_secs_f64();
        println!(
            "{:>5}  {what:<12} {calls:>6} {:>7.2} s {:>7.2} {:>7.3} s {:>7.3} {:>6.1} MB",
            self.size,
            wall.as_secs_f64(),
            times(wall),
            cpu.as_secs_f64(),
            times(cpu),
            peak / 1e6
        );
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
        let peak = peak as u64;
        let budgeted = std::env::var_os("PLUGIN_BINARY").is_some(); // a release
        assert!(peak <= BUDGET || !budgeted, "{what} of {} pools took {peak} bytes of memory, over its budget", self.size);
    }
}
