#!/usr/bin/env python3
"""Runs all tests: builds them with cargo, then runs the test binaries side by side, since each waits for its servers most of the time.

run.py [-j N] [NAME ...]      N binaries at a time, one more than there are cores unless told; NAMEs as after `cargo test --test`, or of a
                              library for its own tests: `karpenter`, `tofu`
What a binary prints is shown when it ends. One that is not done after LIMIT is killed and has failed; its servers end with it.
How long each took is kept in $LAB_HOME, and the longest start first.
"""
import argparse, concurrent.futures, fcntl, json, os, pathlib, subprocess, sys, threading, time

LIMIT = 25 * 60  # seconds; the longest takes about 5 minutes on a quiet machine with two cores


def claim(target):
    """Clones share the target folder, and cargo tells by times what is fresh: another clone's newer build would count as this one's, and
    a build under another clone's running tests would take their provider away. So one clone has it at a time."""
    if not target:
        return None
    os.makedirs(target, exist_ok=True)
    lock, here = open(os.path.join(target, "clone"), "a+"), os.getcwd()

    def holder():
        lock.seek(0)
        return lock.read()

    fcntl.flock(lock, fcntl.LOCK_SH)
    while holder() != here:
        fcntl.flock(lock, fcntl.LOCK_UN)
        fcntl.flock(lock, fcntl.LOCK_EX)   # waits for the other clone's runs
        if holder() != here:
            for source in [pathlib.Path("build.rs"), *(f for top in ("src", "tests", "benches") for f in pathlib.Path(top).rglob("*.rs"))]:
                source.touch()
            lock.truncate(0)
            lock.write(here)
            lock.flush()
        fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def build():
    """[(name, path)] of the test binaries."""
    command = [os.environ.get("CARGO", "cargo"), "test", "--workspace", "--locked", "--no-run", "--message-format=json-render-diagnostics"]
    built = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit(built.returncode)
    artifacts = [json.loads(line) for line in built.stdout.splitlines() if line.startswith("{")]
    found = [a for a in artifacts if a.get("executable") and a["profile"]["test"]]
    return [(a["target"]["name"], a["executable"]) for a in found]


def run(name, path):
    """(name, whether it passed, seconds, seconds of CPU without the servers, what it printed)"""
    began = time.monotonic()
    # what cargo sets for a test that it runs
    environment = dict(os.environ, CARGO_MANIFEST_DIR=os.getcwd())
    p = subprocess.Popen([path], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    limit = threading.Timer(LIMIT, p.kill)
    limit.start()
    said = p.stdout.read().decode(errors="replace")
    _, status, used = os.wait4(p.pid, 0)
    p.returncode, took = os.waitstatus_to_exitcode(status), time.monotonic() - began
    if limit.finished.is_set():
        said += f"\nnot done after {LIMIT} s: killed\n"
    limit.cancel()
    return name, p.returncode == 0, took, used.ru_utime + used.ru_stime, said


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    p.add_argument("-j", type=int, default=len(os.sched_getaffinity(0)) + 1)
    p.add_argument("names", nargs="*")
    a = p.parse_args()
    os.chdir(pathlib.Path(__file__).resolve().parent.parent)
    claimed = claim(os.environ.get("CARGO_TARGET_DIR"))   # until this ends
    built = build()
    if unknown := set(a.names) - {name for name, _ in built}:
        sys.exit(f"no test binary {', '.join(sorted(unknown))}; there are {', '.join(sorted(name for name, _ in built))}")
    binaries = [b for b in built if not a.names or b[0] in a.names]
    kept = pathlib.Path(os.environ["LAB_HOME"]) / "test-seconds.json"
    try:
        seconds = json.loads(kept.read_text())
    except (OSError, ValueError):
        seconds = {}
    binaries.sort(key=lambda b: (-seconds.get(b[0], float("inf")), b[0] != "oracle"))  # the longest, should nothing be known yet
    began, lines, failed, skipped = time.monotonic(), [], [], []
    with concurrent.futures.ThreadPoolExecutor(a.j) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, *b) for b in binaries]):
            name, passed, took, cpu, said = done.result()
            print(f"---- {name}\n{said.strip()}\n", flush=True)
            seconds[name] = round(took, 1)
            results = [line[len("test result: "):].split("; finished")[0] for line in said.splitlines() if line.startswith("test result: ")]
            lines.append(f"{took:7.1f} s {cpu:7.1f} s of CPU  {name:<18} {results[-1] if results else 'no result'}")
            skipped += [f"{name}: {line.strip()}" for line in said.splitlines() if "SKIPPED" in line]
            if not passed:
                failed.append(name)
    new = kept.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(seconds, indent=1))
    new.replace(kept)
    print("\n".join(lines + skipped))
    print(f"{len(binaries)} test binaries, {a.j} at a time, {time.monotonic() - began:.0f} s; {'FAILED: ' + ' '.join(failed) if failed else 'all passed'}")
    sys.exit(bool(failed))


main()
