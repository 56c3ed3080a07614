//! One cell: the phase under its event, then what a user does next, and a look at everything that is there.

use serde_json::{Value as Json, json};

use super::cells::{Baseline, Cell, Event, Phase};
use super::client::{Client, End, Kept};
use super::stage::Stage;

/// How a cell ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The apply went on as if nothing had been.
    Recovered,
    /// It went on without what a bundle can do without.
    Without,
    /// It ended with an error that says all, and the next one did the rest.
    NextApply,
    /// It was killed, and the next one did the rest.
    AfterKill,
    /// The create was complete, but no state says so: an import takes it.
    Import,
    /// What a failed create had made was destroyed.
    Destroyed,
    /// Refused while nodes run; nothing of theirs changed.
    NothingDrained,
    /// The call was not made this time, and all is well: pods are looked at only while they are not ready.
    NotMade,
}

/// A pool with a node of its own, as a Karpenter that somebody else installed has left them.
pub const NODES: &str = "
    for path, kind, name, spec in (
        (KARPENTER[2], 'EC2NodeClass', 'default', {'role': 'x', 'amiSelectorTerms': [{'alias': 'al2023@latest'}], 'subnetSelectorTerms': [{'tags': {'a': 'b'}}], 'securityGroupSelectorTerms': [{'tags': {'a': 'b'}}]}),
        (KARPENTER[0], 'NodePool', 'default', {'template': {'spec': {'requirements': [], 'nodeClassRef': {'group': 'karpenter.k8s.aws', 'kind': 'EC2NodeClass', 'name': 'default'}}}}),
        (KARPENTER[1], 'NodeClaim', 'default-1', {'requirements': [], 'nodeClassRef': {'group': 'karpenter.k8s.aws', 'kind': 'EC2NodeClass', 'name': 'default'}})):
        if not get(path + '/' + name):
            post(path, {'apiVersion': path[6:].rsplit('/', 1)[0], 'kind': kind, 'metadata': {'name': name, 'finalizers': ['karpenter.sh/termination'] if kind != 'NodePool' else []}, 'spec': spec})";

/// Plays a cell.
///
/// # Errors
/// What is not as it should be.
pub fn play(stage: &Stage, baseline: &Baseline, cell: &Cell) -> Result<Verdict, String> {
    let of_crds = cell.key.contains("customresourcedefinitions") && cell.event != Event::DeniedWithNodes;
    let (mut kept, mut nodes) = (cell.phase.prepare(stage, of_crds), vec![]);
    if cell.event == Event::DeniedWithNodes {
        let known = stage.python("result = bool(get(CRDS + '/nodeclaims.karpenter.sh'))");
        if known == json!(false) {
            // the first cell of a stage, or one after a cell that left no CRDs
            Phase::Destroy.prepare(stage, false);
            stage.wipe(false);
        }
        stage.python(NODES);
        nodes = nodes_of(&stage.count());
    }
    let arguments = cell.phase.arguments(stage);
    let fault = |pid| cell.event.fault(&cell.key, cell.nth, pid);
    let end = stage.apply_under(&mut kept, arguments.as_ref(), Some(&fault));
    if stage.proxy.met() == 0 {
        if end == End::Done && cell.key.ends_with("/pods") {
            settled(stage, &baseline.after[&cell.phase], &mut kept, arguments.as_ref(), false)?;
            return Ok(Verdict::NotMade);
        }
        return Err(format!("the call never came; the apply ended with {end:?}"));
    }
    match end {
        End::Killed if cell.event.kills() => after_kill(stage, baseline, cell, kept, arguments.as_ref()),
        End::Done if !cell.event.kills() => {
            let denied = matches!(cell.event, Event::Denied | Event::DeniedWithNodes);
            let without = denied && cell.key == "iam:CreateServiceLinkedRole";
            let mut want = baseline.after[&cell.phase].clone();
            if without {
                want["aws"].as_object_mut().map(|aws| aws.remove("role AWSServiceRoleForEC2Spot"));
            }
            for (key, node) in nodes {
                want["kubernetes"][key] = node;
            }
            settled(stage, &want, &mut kept, arguments.as_ref(), false)?;
            Ok(if without { Verdict::Without } else { Verdict::Recovered })
        }
        End::Failed(errors) => {
            says_all(cell, &errors)?;
            match cell.event {
                Event::DeniedWithNodes => nothing_drained(stage, kept, arguments.as_ref()),
                Event::Denied if cell.phase == Phase::Create => destroyed(stage, baseline, kept),
                _ => next(stage, baseline, cell, kept, arguments.as_ref(), Verdict::NextApply),
            }
        }
        other => Err(format!("the apply ended with {other:?}")),
    }
}

fn after_kill(stage: &Stage, baseline: &Baseline, cell: &Cell, kept: Kept, arguments: Option<&Json>) -> Result<Verdict, String> {
    if !(cell.last && cell.event == Event::KillAfter && cell.phase == Phase::Create) {
        return next(stage, baseline, cell, kept, arguments, Verdict::AfterKill);
    }
    // without the marker a finished bundle may be another state's
    let mut kept = kept;
    match stage.apply(&mut kept, arguments) {
        End::Failed(errors) if errors.iter().any(|e| e.contains("import {")) => {}
        other => return Err(format!("a finished bundle without a state: want the import hint, found {other:?}")),
    }
    let mut kept = stage.import();
    let end = stage.apply(&mut kept, arguments);
    if !matches!(end, End::Done | End::NothingToDo) {
        return Err(format!("the apply after the import ended with {end:?}"));
    }
    settled(stage, &baseline.after[&cell.phase], &mut kept, arguments, false)?;
    Ok(Verdict::Import)
}

/// The next apply, and everything as after an undisturbed run.
fn next(
    stage: &Stage,
    baseline: &Baseline,
    cell: &Cell,
    mut kept: Kept,
    arguments: Option<&Json>,
    verdict: Verdict,
) -> Result<Verdict, String> {
    let end = stage.apply(&mut kept, arguments);
    if !matches!(end, End::Done | End::NothingToDo) {
        return Err(format!("the next apply ended with {end:?}"));
    }
    settled(stage, &baseline.after[&cell.phase], &mut kept, arguments, !cell.event.kills())?;
    Ok(verdict)
}

/// Everything that an undisturbed run leaves is there once, nothing else, and the second plan is empty. After an error, a release may
/// have one revision more, which failed.
fn settled(stage: &Stage, want: &Json, kept: &mut Kept, arguments: Option<&Json>, failed_once: bool) -> Result<(), String> {
    let found = stage.count();
    let differences = differences(want, &found, failed_once);
    if !differences.is_empty() {
        return Err(format!("not as after an undisturbed run:\n    {}", differences.join("\n    ")));
    }
    let Some(arguments) = arguments else {
        return if kept.state.is_null() { Ok(()) } else { Err("the state is not empty".to_owned()) };
    };
    match stage.plans_a_change(kept, arguments) {
        Ok(false) => Ok(()),
        Ok(true) => Err(format!("the second plan is not empty: {:?}", Client::drifted(kept))),
        Err(errors) => Err(format!("the second plan fails: {errors:?}")),
    }
}

/// A failed create is destroyed: nothing is left but what stays by design.
fn destroyed(stage: &Stage, baseline: &Baseline, mut kept: Kept) -> Result<Verdict, String> {
    match stage.apply(&mut kept, None) {
        End::Done | End::NothingToDo => {}
        other => return Err(format!("the destroy after a failed create ended with {other:?}")),
    }
    let stays = |key: &str| key.contains("AWSServiceRoleFor") || key.starts_with("CRD ");
    let left: Vec<String> = differences(&baseline.empty, &stage.count(), false)
        .into_iter()
        .filter(|line| !line.split_once(' ').is_some_and(|(_, key)| stays(key.trim_start_matches("role ")) || stays(key)))
        .collect();
    if left.is_empty() { Ok(Verdict::Destroyed) } else { Err(format!("left by the destroy:\n    {}", left.join("\n    "))) }
}

/// A failed create on a cluster with nodes: replacing and destroying it are refused, and change nothing of theirs; untainted, it
/// goes on to its end.
fn nothing_drained(stage: &Stage, mut kept: Kept, arguments: Option<&Json>) -> Result<Verdict, String> {
    let before = stage.count();
    stage.refresh(&mut kept).map_err(|errors| format!("the refresh after the failed create: {errors:?}"))?;
    for (what, arguments) in [("the next apply", arguments), ("a destroy", None)] {
        if kept.state.is_null() {
            break; // nothing was made yet, so there is nothing to replace
        }
        let mut tried = kept.clone();
        match stage.apply(&mut tried, arguments) {
            End::Failed(errors) if errors.iter().any(|e| e.contains("NodeClaim default-1") && e.contains("tofu untaint")) => {}
            other => return Err(format!("{what} on a cluster with nodes ended with {other:?}")),
        }
        let found = differences(&before, &stage.count(), false);
        if !found.is_empty() {
            return Err(format!("{what} was refused, and changed:\n    {}", found.join("\n    ")));
        }
    }
    let mut untainted = Kept { tainted: false, ..kept };
    let end = stage.apply(&mut untainted, arguments);
    if end != End::Done {
        return Err(format!("untainted, the next apply ended with {end:?}"));
    }
    if nodes_of(&before) == nodes_of(&stage.count()) {
        Ok(Verdict::NothingDrained)
    } else {
        Err("pools, classes or claims changed".to_owned())
    }
}

/// Pools, classes and claims in a count.
fn nodes_of(count: &Json) -> Vec<(String, Json)> {
    let objects = count["kubernetes"].as_object().into_iter().flatten();
    objects.filter(|(key, _)| key.starts_with("node") || key.starts_with("ec2")).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// An error names the call, its object, and what to do.
fn says_all(cell: &Cell, errors: &[String]) -> Result<(), String> {
    let (service, call) = cell.key.split_once(':').unwrap_or_default();
    let named = |error: &&String| match service {
        // the object's own name, or its kind for a list
        "kubernetes" => call.rsplit('/').next().is_some_and(|name| error.contains(name)) || error.contains("release record"),
        _ => error.contains(&cell.key),
    };
    let remedied = |error: &String| error.contains("\n\n");
    match errors.iter().find(named) {
        Some(error) if remedied(error) => Ok(()),
        Some(error) => Err(format!("the error says nothing about what to do: {error}")),
        None => Err(format!("no error names the call: {errors:?}")),
    }
}

/// What differs between two counts, a line each.
pub fn differences(want: &Json, found: &Json, failed_once: bool) -> Vec<String> {
    let mut lines = vec![];
    for part in ["aws", "kubernetes", "releases"] {
        let keys = |side: &Json| side[part].as_object().map(|o| o.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
        let mut all = keys(want);
        all.extend(keys(found));
        all.sort();
        all.dedup();
        for key in all {
            let (want, found) = (&want[part][&key], &found[part][&key]);
            let fine = want == found || (failed_once && part == "releases" && with_one_failure(want, found));
            if !fine {
                lines.push(format!("{part} {key}: {found}, want {want}"));
            }
        }
    }
    lines
}

/// One revision more, which failed; the newest is deployed, alone.
fn with_one_failure(want: &Json, found: &Json) -> bool {
    let (Some(want), Some(found)) = (want.as_array(), found.as_array()) else { return false };
    let deployed = found.iter().filter(|r| r[1] == json!("deployed")).count();
    found.len() == want.len() + 1 && deployed == 1 && found.last().is_some_and(|r| r[1] == json!("deployed"))
}
