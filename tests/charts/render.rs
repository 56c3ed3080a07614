//! `helm template` against our renderer, over values files that a seeded generator writes. More of them, or of another chart:
//! `HELM_RENDERS=20000 HELM_SEED=7 HELM_CHART=karpenter-1.0.0.tgz`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use karpenter::helm::template::{ReleaseInfo, functions, render};
use karpenter::helm::{Capabilities, Chart, registry, values};
use serde_json::{Value, json};

use crate::common::Lab;

/// Every construct, function and object that Karpenter's charts use; `reference/helm.md` lists them.
const USED: &[&str] = &[
    "define",
    "template",
    "include",
    "if",
    "else",
    "else if",
    "with",
    "range $",
    ":=",
    " = ",
    "{{-",
    "-}}",
    "tpl",
    "required",
    "toYaml",
    "fromYaml",
    "nindent",
    "default",
    "printf",
    "print ",
    "dict",
    "set",
    "merge",
    "hasKey",
    "toString",
    "join",
    "trunc",
    "trimSuffix",
    "contains",
    "replace",
    "quote",
    "semverCompare",
    "list",
    "append",
    "has ",
    "and",
    "or",
    "not",
    "eq",
    ".Values",
    ".Chart",
    ".Release",
    ".Capabilities.KubeVersion.Version",
    ".Capabilities.APIVersions.Has",
];

#[test]
fn the_test_charts_use_whatever_karpenters_charts_use() {
    let templates = crate::common::repository().join("tests/charts/karpenter/templates");
    let texts = std::fs::read_dir(templates).unwrap().map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap());
    let actions: String =
        texts.collect::<String>().split("{{").skip(1).map(|a| format!("{{{{{}}}}}\n", a.split("}}").next().unwrap())).collect();
    let absent: Vec<_> = USED.iter().filter(|word| !actions.contains(**word)).collect();
    assert!(absent.is_empty(), "absent from the test charts: {absent:?}");
    let words = ["tpl", "toYaml", "hasKey", "semverCompare", "include", "and"];
    assert!(words.iter().all(|w| functions::known(w)) && !functions::known("lookup"));
}

/// One values file, and for what it is rendered.
#[derive(Clone)]
struct Turn {
    text: String,
    program: &'static str,
    release: &'static str,
    monitoring: bool,
}

impl Turn {
    /// Of helm, which renders it.
    fn arguments(&self, archive: &Path, values: &Path) -> Vec<String> {
        let (archive, values) = (archive.to_str().unwrap(), values.to_str().unwrap());
        let mut arguments = vec!["template", self.release, archive, "-n", "kube-system", "--kube-version", KUBERNETES, "-f", values];
        if self.monitoring {
            arguments.extend(["--api-versions", MONITORING]);
        }
        arguments.into_iter().map(str::to_owned).collect()
    }
}

const KUBERNETES: &str = "v1.36.3";

const MONITORING: &str = "monitoring.coreos.com/v1";

/// What came of it.
enum Verdict {
    /// Both manifests: helm's and ours.
    Both(String, String),
    /// Both refuse it.
    Neither,
}

#[tokio::test(flavor = "multi_thread")]
async fn we_render_what_helm_renders() {
    let lab = Lab::shared();
    let count = std::env::var("HELM_RENDERS").map_or(1000, |n| n.parse().unwrap());
    let seed: u64 = std::env::var("HELM_SEED").map_or(20_261_122, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    // another chart than the test's own, such as one of Karpenter's
    let archive = std::env::var_os("HELM_CHART").map(PathBuf::from).unwrap_or_else(|| dir.path().join("karpenter-1.14.1.tgz"));
    if !archive.exists() {
        let repository = format!("{}/karpenter", lab.chart_repository());
        lab.helm(&["pull", &repository, "--plain-http", "--version", "1.14.1", "-d", dir.path().to_str().unwrap()]);
    }
    let chart = registry::pull(archive.to_str().unwrap(), "karpenter", None, None).await.unwrap();
    let mut random = Random(seed | 1);
    let turns: Vec<Turn> = (0..count)
        .map(|turn| Turn {
            text: FIXED.get(turn).map_or_else(|| random.values(), |text| (*text).to_owned()),
            program: ["helm", "helm4", "helm4", "helm4"][random.below(4)],
            release: ["karpenter", "harbor"][random.below(2)],
            monitoring: random.below(2) == 0,
        })
        .collect();
    // helm 3 is a process a render; one of helm 4 renders many
    let (fours, threes): (Vec<usize>, Vec<usize>) = (0..turns.len()).partition(|index| turns[*index].program == "helm4");
    let jobs: Vec<&[usize]> = threes.chunks(1).chain(fours.chunks(50)).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = vec![];
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let commands: Vec<Vec<String>> = job
                .iter()
                .map(|index| {
                    let values = dir.path().join(format!("values-{index}.yaml"));
                    std::fs::write(&values, &turns[*index].text).unwrap();
                    turns[*index].arguments(&archive, &values)
                })
                .collect();
            for (index, theirs) in job.iter().zip(helm(lab, turns[job[0]].program, &commands)) {
                let verdict = verdict(&chart, &turns[*index], theirs);
                done.push((*index, verdict.map_err(|why| format!("seed {seed}, turn {index}: {why}"))));
            }
        }
        done
    };
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get() + 1);
    let verdicts: Vec<(usize, Result<Verdict, String>)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let wrong: Vec<&String> = verdicts.iter().filter_map(|(_, verdict)| verdict.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{} of {count} differ; the first:\n{}", wrong.len(), wrong[0]);
    let rendered: Vec<(usize, &String, &String)> = verdicts
        .iter()
        .filter_map(|(index, verdict)| if let Ok(Verdict::Both(helm, ours)) = verdict { Some((*index, helm, ours)) } else { None })
        .collect();
    let failures = verdicts.len() - rendered.len();
    println!("{} values files rendered alike, {failures} refused alike (seed {seed})", rendered.len());
    assert!(rendered.len() > count / 3 && failures > 0, "the generator is out of balance");
    // texts that are the same hold the same objects
    let differing: Vec<&(usize, &String, &String)> = rendered.iter().filter(|(_, helm, ours)| helm != ours).collect();
    let manifests: Vec<&String> = differing.iter().flat_map(|(_, helm, ours)| [*helm, *ours]).collect();
    for ((index, ..), both) in differing.iter().zip(objects(lab, &manifests).chunks(2)) {
        assert_eq!(both[0], both[1], "seed {seed}, turn {index}:\n{}", turns[*index].text);
        assert!(!both[0].is_empty());
    }
}

/// What helm prints, or says is wrong, for each of some commands.
fn helm(lab: &Lab, program: &str, commands: &[Vec<String>]) -> Vec<Result<String, String>> {
    if program == "helm4" {
        let answers = lab.piped(&mut lab.command("helm4-many"), &json!(commands).to_string());
        let answers: Vec<Value> = serde_json::from_str(&answers).unwrap();
        let answer = |answer: &Value| match answer["error"].as_str().unwrap() {
            "" => Ok(answer["out"].as_str().unwrap().to_owned()),
            error => Err(error.to_owned()),
        };
        assert_eq!(answers.len(), commands.len());
        return answers.iter().map(answer).collect();
    }
    let one = |arguments: &Vec<String>| {
        // a process this short needs neither a garbage collector nor threads
        let output = lab.command(program).envs([("GOGC", "off"), ("GOMAXPROCS", "1")]).args(arguments).output().unwrap();
        let said = if output.status.success() { Ok(output.stdout) } else { Err(output.stderr) };
        let text = |bytes| String::from_utf8(bytes).unwrap();
        said.map(text).map_err(text)
    };
    commands.iter().map(one).collect()
}

/// What helm and we make of a values file; an error where only one of us refuses it.
fn verdict(chart: &Chart, turn: &Turn, theirs: Result<String, String>) -> Result<Verdict, String> {
    let Turn { text, program, release, monitoring } = turn;
    let mut capabilities = Capabilities::new(KUBERNETES).unwrap();
    if *monitoring {
        capabilities.api_versions.insert(MONITORING.into());
    }
    let info = ReleaseInfo { name: (*release).into(), namespace: "kube-system".into(), revision: 1, upgrade: false };
    let ours = values::parse("values", std::slice::from_ref(text)).and_then(|user| render(chart, &user, &info, &capabilities));
    match (theirs, ours) {
        (Ok(theirs), Ok(rendered)) => {
            // helm prints hooks behind everything else
            let hooks: String = rendered.hooks.iter().map(|hook| format!("---\n# Source: {}\n{}\n", hook.path, hook.text)).collect();
            Ok(Verdict::Both(theirs, rendered.manifest + &hooks))
        }
        (Err(_), Err(_)) => Ok(Verdict::Neither),
        // `helm template` prints an object without a usable name, and only the API server refuses it
        (Ok(_), Err(error)) if error.message.contains("without apiVersion, kind or metadata.name") => Ok(Verdict::Neither),
        (theirs, ours) => {
            let (said, ours) = (theirs.map_or_else(|error| error, |_| "nothing is wrong".into()), ours.map(|_| "nothing is wrong"));
            Err(format!("{program} says {said}\nwe say {ours:?}\n{text}"))
        }
    }
}

/// The objects of manifests by their address, read by another YAML reader than ours; by ours where that one knows less than helm (a tab
/// after a colon).
fn objects(lab: &Lab, manifests: &[&String]) -> Vec<BTreeMap<String, Value>> {
    let script = "
import sys, json, yaml
def read(text):
    try: return [d for d in yaml.load_all(text, yaml.CSafeLoader) if d]
    except yaml.YAMLError: return None
print(json.dumps([read(text) for text in json.load(sys.stdin)], default=str))";
    let mut python = lab.command(lab.var("LAB_PYTHON"));
    let read: Vec<Value> = serde_json::from_str(&lab.piped(python.args(["-c", script]), &json!(manifests).to_string())).unwrap();
    let id = |o: &Value| format!("{} {} {}", o["kind"], o["metadata"]["namespace"], o["metadata"]["name"]);
    let list = |(manifest, read): (&&String, Value)| match read {
        Value::Array(list) => list,
        _ => karpenter::helm::yaml::parse_all(manifest).unwrap(),
    };
    manifests.iter().zip(read).map(|pair| list(pair).into_iter().filter(|o| !o.is_null()).map(|o| (id(&o), o)).collect()).collect()
}

/// What a generator hardly hits.
const FIXED: &[&str] = &[
    "settings: {clusterName: harbor}",
    "",
    "settings: {clusterName: '{{ .Release.Name | upper }}-{{ .Values.replicas }}', interruptionQueue: '{{ .Values.settings.clusterName }}'}",
    "settings: {clusterName: '{{ .Values.no.such.key }}'}",
    "settings: {clusterName: '{{ end }}'}",
    "settings: {clusterName: 5}",
    "settings: null",
    "settings: {clusterName: x}\naffinity: null\nstrategy: null\ntolerations: null\nnodeSelector: {kubernetes.io/os: null, a: b}",
    "settings: {clusterName: x}\nx: &x {app: k}\nadditionalLabels: *x\npodLabels: {<<: *x, z: '1'}",
    "settings: {clusterName: x, clusterName: y}\nreplicas: 1\nreplicas: 3",
    "settings: {clusterName: x}\npodAnnotations:\n  multi: |\n    one\n      two\n\n    three\n  folded: >-\n    a\n    b\n  quoted: 'it''s\n    folded'",
    "settings: {clusterName: x, reservedENIs: 1234567, vmMemoryOverheadPercent: 1e-7}\npodAnnotations: {big: 12345678901234567890}",
    "settings: {clusterName: x}\naffinity:\n  podAffinity:\n    preferredDuringSchedulingIgnoredDuringExecution:\n    - {weight: 1, podAffinityTerm: {topologyKey: z}}\n    requiredDuringSchedulingIgnoredDuringExecution:\n    - {topologyKey: z, labelSelector: {}}",
    "settings: {clusterName: x, featureGates: {spotToSpotConsolidation: true, nodeRepair: null, more: 1}}",
    "- not\n- a map",
    "a: b: c",
];

/// Where the generator puts values.
const PATHS: &[&str] = &[
    "nameOverride",
    "fullnameOverride",
    "additionalLabels",
    "additionalAnnotations.note",
    "imagePullPolicy",
    "imagePullSecrets",
    "service.annotations",
    "serviceAccount.create",
    "serviceAccount.name",
    "serviceAccount.annotations.role",
    "additionalClusterRoleRules",
    "serviceMonitor.enabled",
    "serviceMonitor.sampleLimit",
    "serviceMonitor.endpointConfig",
    "replicas",
    "revisionHistoryLimit",
    "strategy",
    "podLabels.x",
    "podAnnotations.y",
    "podDisruptionBudget.maxUnavailable",
    "podDisruptionBudget.name",
    "podSecurityContext",
    "priorityClassName",
    "terminationGracePeriodSeconds",
    "hostNetwork",
    "schedulerName",
    "dnsPolicy",
    "dnsConfig",
    "initContainers",
    "nodeSelector",
    "affinity",
    "affinity.podAntiAffinity",
    "topologySpreadConstraints",
    "tolerations",
    "extraVolumes",
    "controller.containerName",
    "controller.image.tag",
    "controller.image.digest",
    "controller.env",
    "controller.envFrom",
    "controller.resources",
    "controller.securityContext.seccompProfile",
    "controller.extraVolumeMounts",
    "controller.sidecarContainer",
    "controller.metrics.port",
    "logLevel",
    "logOutputPaths",
    "settings.clusterEndpoint",
    "settings.interruptionQueue",
    "settings.reservedENIs",
    "settings.isolatedVPC",
    "settings.batchMaxDuration",
    "settings.vmMemoryOverheadPercent",
    "settings.featureGates",
    "settings.featureGates.nodeRepair",
];

/// What it puts there: every kind of scalar, text that looks like another kind, and structures.
const LEAVES: &[&str] = &[
    "abc",
    "\"abc\"",
    "yes",
    "'yes'",
    "n",
    "true",
    "false",
    "~",
    "null",
    "''",
    "0",
    "1",
    "-1",
    "3",
    "010",
    "0x1F",
    "1_000",
    "1e3",
    "1.5",
    ".5",
    "1e400",
    "10000000",
    "2020-01-01",
    "'1:20'",
    "1:20",
    "\"{{ .Release.Name }}\"",
    "'{{ .Values.replicas }}'",
    "'a: b'",
    "'#x'",
    "'- y'",
    "\"multi\\nline\"",
    "\"tab\\tq\\\"\"",
    "'trailing '",
    "\"\\u00e9\\u2603\"",
    "50%",
    "1Gi",
    "!!str 5",
    "[]",
    "{}",
    "[a]",
    "[1, 'two', ~]",
    "{a: b}",
    "{name: x, value: '1'}",
    "[{name: x, value: '1'}]",
    "[{topologyKey: zone}]",
    "{requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: z}]}",
    "{requests: {cpu: 1, memory: 1Gi}}",
    "{nested: {deep: [1, {k: v}]}}",
];

/// A seeded xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }

    /// A values file: some paths with some leaves, in flow style.
    fn values(&mut self) -> String {
        let mut tree = json!({"settings": {"clusterName": "harbor"}});
        for _ in 0..1 + self.below(4) {
            let (path, leaf) = (self.pick(PATHS).split('.').collect::<Vec<_>>(), *self.pick(LEAVES));
            let mut at = &mut tree;
            for key in &path[..path.len() - 1] {
                if at[*key].is_string() {
                    at[*key] = json!({});
                }
                at = &mut at[*key];
            }
            at[path[path.len() - 1]] = leaf.into();
        }
        flow(&tree)
    }
}

/// The tree as YAML; strings are raw text.
fn flow(tree: &Value) -> String {
    match tree {
        Value::Object(map) => format!("{{{}}}", map.iter().map(|(k, v)| format!("{k}: {}", flow(v))).collect::<Vec<_>>().join(", ")),
        raw => raw.as_str().unwrap_or_default().to_owned(),
    }
}
