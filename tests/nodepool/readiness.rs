//! Waiting for Ready: what ends it, and what is said when it ends without.

use std::time::{Duration, Instant};

use super::{ADDRESS, by_hand, configured, lab, live, workspace};
use crate::common::{Condition, Outcome, Tofu};

const KIND: &str = "nodepools.karpenter.sh";

/// Applies, and writes these conditions as soon as the pool is there; the outcome, and how long it took.
fn applied_while(tofu: &Tofu, name: &str, conditions: &[Condition<'_>]) -> (Outcome, Duration) {
    let began = Instant::now();
    let running = tofu.start(&["apply", "-json", "-auto-approve"]);
    lab().wait_for(&[KIND, name]);
    lab().conditions(KIND, name, conditions);
    (running.wait().ok(), began.elapsed())
}

fn warning(outcome: &Outcome) -> (String, String) {
    let warnings = outcome.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    (warnings[0].summary.clone(), warnings[0].detail.clone())
}

#[test]
fn ready_within_the_wait_is_no_warning() {
    let tofu = workspace(&by_hand("soon-ready", ""));
    let conditions = [
        ("ValidationSucceeded", "True", "ValidationSucceeded", ""),
        ("NodeClassReady", "True", "NodeClassReady", ""),
        ("NodeRegistrationHealthy", "Unknown", "AwaitingReconciliation", "object is awaiting reconciliation"),
        ("Ready", "True", "Ready", ""),
    ];
    let (outcome, _) = applied_while(&tofu, "soon-ready", &conditions);
    assert!(outcome.warnings().is_empty(), "{:#?}", outcome.warnings());
    assert_eq!(tofu.resource(ADDRESS)["ready"], true);
    tofu.plan().empty();

    // an older generation's Ready is none: the wait after an update goes on
    tofu.write("main.tf", &configured(&by_hand("soon-ready", "weight = 2\n  timeouts {\n    update = \"1s\"\n  }")));
    let (summary, detail) = warning(&tofu.apply().ok());
    assert_eq!(summary, "NodePool \"soon-ready\" is not Ready");
    assert!(detail.contains("has not looked at it yet"), "{detail}");
    assert_eq!(tofu.resource(ADDRESS)["ready"], false);
    tofu.plan().empty();
    // becomes ready later: the next refresh sees it, and that is no change
    lab().conditions(KIND, "soon-ready", &conditions);
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn an_explicit_false_ends_the_wait_with_its_reasons() {
    let tofu = workspace(&by_hand("class-missing", "timeouts {\n    create = \"5m\"\n  }"));
    let conditions = [
        ("ValidationSucceeded", "True", "ValidationSucceeded", ""),
        ("NodeClassReady", "False", "NodeClassNotFound", "NodeClass not found on cluster"),
        ("Ready", "False", "UnhealthyDependents", "NodeClassReady=False"),
    ];
    let (outcome, took) = applied_while(&tofu, "class-missing", &conditions);
    assert!(took < Duration::from_secs(60), "{took:?}");
    let (summary, detail) = warning(&outcome);
    assert_eq!(summary, "NodePool \"class-missing\" is not Ready");
    assert!(detail.contains("NodeClassReady=False (NodeClassNotFound): NodeClass not found on cluster"), "{detail}");
    assert_eq!(tofu.resource(ADDRESS)["ready"], false);
    tofu.plan().empty();
    tofu.destroy().ok();
}

#[test]
fn unknown_without_a_reason_says_what_to_check() {
    let tofu = workspace(&by_hand("undecided", "timeouts {\n    create = \"20s\"\n  }"));
    let conditions = [
        ("NodeClassReady", "Unknown", "AwaitingReconciliation", "object is awaiting reconciliation"),
        ("Ready", "Unknown", "AwaitingReconciliation", "object is awaiting reconciliation"),
    ];
    let (outcome, _) = applied_while(&tofu, "undecided", &conditions);
    let (_, detail) = warning(&outcome);
    for words in ["timeouts.create", "node role", "alias", "controller's log", "NodeClassReady=Unknown (AwaitingReconciliation)"] {
        assert!(detail.contains(words), "no {words:?} in {detail}");
    }
    assert!(live("undecided")["spec"].is_object());
    tofu.destroy().ok();
}
