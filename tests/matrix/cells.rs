//! What a cell is, which there are, and what an undisturbed run leaves: all from calls that a proxy saw.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::client::{End, Kept};
use super::common::{Call, Fault};
use super::random::Random;
use super::stage::{CLUSTER, Stage};

/// What an apply is about when something happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// From nothing.
    Create,
    /// Tags, values, and what the policy says.
    Update,
    /// Role, service account and queue get other names, so all that hangs on them moves.
    Move,
    /// To nothing.
    Destroy,
}

/// All of them.
pub const PHASES: [Phase; 4] = [Phase::Create, Phase::Update, Phase::Move, Phase::Destroy];

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// The plugin dies before the call has its effect.
    KillBefore,
    /// The plugin dies after it.
    KillAfter,
    /// The server has too much to do.
    Throttled,
    /// The server fails.
    ServerError,
    /// No answer comes.
    TimedOut,
    /// The connection closes before the call has its effect.
    ResetBefore,
    /// The connection closes after it.
    ResetAfter,
    /// The identity may not; then all is destroyed.
    Denied,
    /// The server does not know yet what was just made.
    NotFound,
    /// The credentials are refused.
    Unauthorized,
    /// The identity may not, and nodes that a Karpenter made run already.
    DeniedWithNodes,
}

const KILLS: [Event; 2] = [Event::KillBefore, Event::KillAfter];
const FAULTS: [Event; 8] = [
    Event::Throttled,
    Event::ServerError,
    Event::TimedOut,
    Event::ResetBefore,
    Event::ResetAfter,
    Event::Denied,
    Event::NotFound,
    Event::Unauthorized,
];

/// One call of a phase, and what happens to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The apply that it is a call of.
    pub phase: Phase,
    /// As the proxy names it.
    pub key: String,
    /// Which of those with this key, from 1.
    pub nth: usize,
    /// What happens.
    pub event: Event,
    /// No call writes after it.
    pub last: bool,
}

/// What an undisturbed run of each phase does and leaves.
pub struct Baseline {
    /// Before anything.
    pub empty: Json,
    /// After each phase.
    pub after: BTreeMap<Phase, Json>,
    calls: BTreeMap<Phase, Vec<Call>>,
}

impl Phase {
    /// What is applied; `None`: it is destroyed.
    pub fn arguments(self, stage: &Stage) -> Option<Json> {
        match self {
            Phase::Create => Some(stage.whole(json!({"tags": {"team": "a"}}))),
            Phase::Update => Some(stage.whole(json!({
                "tags": {"owner": "b"},
                "node_role": [{"additional_arns": ["arn:aws:iam::123456789012:role/another"]}],
                "chart": [{"values": ["podAnnotations:\n  rolled: \"yes\"\n"]}],
            }))),
            Phase::Move => Some(stage.whole(json!({
                "tags": {"team": "a"},
                "service_account": "moved",
                "controller_role": [{"name": format!("{CLUSTER}-moved")}],
                "interruption_queue": [{"name": format!("{CLUSTER}-moved")}],
            }))),
            Phase::Destroy => None,
        }
    }

    /// Brings the stage to where the phase begins; what the client keeps.
    pub fn prepare(self, stage: &Stage, crds: bool) -> Kept {
        stage.wipe(crds);
        let mut kept = Kept::default();
        if self != Phase::Create {
            let end = stage.apply(&mut kept, Phase::Create.arguments(stage).as_ref());
            assert_eq!(end, End::Done, "the create before");
        }
        kept
    }
}

impl Event {
    /// The fault that brings it about, over the process with that id.
    pub fn fault(self, key: &str, nth: usize, pid: u32) -> Fault {
        let kubernetes = key.starts_with("kubernetes:");
        let iam = key.starts_with("iam:") || key.starts_with("sts:");
        let fault = Fault::on(&format!("^{}$", regex_escape(key))).nth(nth);
        let status = |fault: Fault, of_kubernetes: (u16, &str), of_iam: (u16, &str), of_others: (u16, &str)| {
            let (status, code) = if kubernetes {
                of_kubernetes
            } else if iam {
                of_iam
            } else {
                of_others
            };
            fault.status(status, code, "a fault of the matrix")
        };
        match self {
            Event::KillBefore => fault.kill(pid),
            Event::KillAfter => fault.kill(pid).after_effect(),
            Event::Throttled => status(fault, (429, "TooManyRequests"), (400, "Throttling"), (400, "ThrottlingException")),
            Event::ServerError => status(fault, (500, "InternalError"), (500, "ServiceFailure"), (500, "InternalFailure")),
            // longer than the provider waits for an answer
            Event::TimedOut => fault.stall(Duration::from_secs(if kubernetes { 70 } else { 35 })),
            Event::ResetBefore => fault.close(),
            Event::ResetAfter => fault.close().after_effect(),
            Event::Denied | Event::DeniedWithNodes => {
                status(fault, (403, "Forbidden"), (403, "AccessDenied"), (400, "AccessDeniedException"))
            }
            Event::NotFound if key.starts_with("sqs:") => {
                fault.status(400, "AWS.SimpleQueueService.NonExistentQueue", "a fault of the matrix")
            }
            Event::NotFound => status(fault, (404, "NotFound"), (404, "NoSuchEntity"), (404, "ResourceNotFoundException")),
            Event::Unauthorized => {
                status(fault, (401, "Unauthorized"), (403, "InvalidClientTokenId"), (400, "UnrecognizedClientException"))
            }
        }
    }

    /// Whether the plugin dies of it.
    pub fn kills(self) -> bool {
        KILLS.contains(&self)
    }
}

impl Cell {
    fn failed_once(&self) -> bool {
        self.nth == 1 && ONCE_FAILED.contains(&(self.phase, self.event, self.key.as_str()))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { phase, key, nth, event, last: _ } = self;
        write!(f, "{:<8}{:<16} {key} #{nth}", format!("{phase:?}").to_lowercase(), format!("{event:?}"))
    }
}

impl Baseline {
    /// Plays every phase undisturbed.
    pub fn of(stage: &Stage) -> Baseline {
        stage.wipe(true);
        let (empty, mut after, mut calls) = (stage.count(), BTreeMap::new(), BTreeMap::new());
        for phase in PHASES {
            // nothing happens to this call: the fault only makes the proxy forget what came before
            let nothing = |_| Fault::on("^nothing$");
            let mut kept = phase.prepare(stage, phase == Phase::Create);
            let end = stage.apply_under(&mut kept, phase.arguments(stage).as_ref(), Some(&nothing));
            assert_eq!(end, End::Done, "undisturbed {phase:?}");
            calls.insert(phase, stage.proxy.calls());
            after.insert(phase, stage.count());
        }
        Baseline { empty, after, calls }
    }

    /// Every cell: kills around each call that writes; faults on each call, several of one kind on its first.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = vec![];
        let mut faulted = BTreeSet::new();
        for (phase, calls) in &self.calls {
            let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
            let last = calls.iter().rposition(|call| call.mutating);
            for (at, call) in calls.iter().enumerate() {
                let nth = seen.entry(&call.key).or_default();
                *nth += 1;
                let last = Some(at) == last;
                let cell = |event| Cell { phase: *phase, key: call.key.clone(), nth: *nth, event, last };
                if call.mutating {
                    cells.extend(KILLS.map(cell));
                    cells.extend((*phase == Phase::Create).then(|| cell(Event::DeniedWithNodes)));
                }
                let kind = if *phase == Phase::Move { Phase::Update } else { *phase };
                // a watch may end at any time: nothing waits for it alone
                if call.action != "WATCH" && faulted.insert((kind, call.key.clone())) {
                    cells.extend(FAULTS.map(cell).into_iter().filter(|cell| cell.event != Event::NotFound || may_lag(call)));
                }
            }
        }
        let failed = cells.iter().filter(|cell| cell.failed_once()).count();
        assert_eq!(failed, ONCE_FAILED.len(), "a cell that failed once is there no more");
        cells.sort(); // calls side by side end in any order: a seed is to name the same cells again
        cells
    }

    /// How many calls each phase makes, and how many of them write.
    pub fn summary(&self) -> String {
        let of = |(phase, calls): (&Phase, &Vec<Call>)| {
            format!("{phase:?} {} calls, {} write", calls.len(), calls.iter().filter(|c| c.mutating).count())
        };
        self.calls.iter().map(of).collect::<Vec<_>>().join("; ")
    }
}

/// Whether a server may say of what exists that it does not: AWS is consistent in the end, an API server always. But what is written
/// into a namespace, or of a kind, may be too early for that.
fn may_lag(call: &Call) -> bool {
    call.service != "kubernetes" || matches!(call.action.as_str(), "PATCH" | "POST" | "PUT")
}

/// Cells that failed once.
const ONCE_FAILED: [(Phase, Event, &str); 3] = [
    // two revisions said that they are deployed
    (Phase::Move, Event::KillAfter, "kubernetes:PUT /api/v1/namespaces/kube-system/secrets/sh.helm.release.v1.karpenter.v2"),
    // the role and the queue stayed
    (Phase::Move, Event::NotFound, "iam:DeleteRole"),
    (Phase::Move, Event::NotFound, "sqs:DeleteQueue"),
];

/// Those that failed once, and some others by a seed: kills and faults by turns, none that waits for a timeout.
pub fn sample(cells: Vec<Cell>, size: usize, seed: u64) -> Vec<Cell> {
    let mut random = Random::new(seed);
    let (failed, cells): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(Cell::failed_once);
    let (mut kills, mut faults): (Vec<Cell>, Vec<Cell>) =
        cells.into_iter().filter(|cell| cell.event != Event::TimedOut).partition(|cell| cell.event.kills());
    random.shuffle(&mut kills);
    random.shuffle(&mut faults);
    failed.into_iter().chain(kills.into_iter().zip(faults).flat_map(|(kill, fault)| [kill, fault]).take(size)).collect()
}

fn regex_escape(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_alphanumeric() || "/:-_ ".contains(c) { vec![c] } else { vec!['\\', c] }).collect()
}
