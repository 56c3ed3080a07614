//! `helm template` against our renderer, over values files that a seeded generator writes. More of them: `HELM_RENDERS=2000 HELM_SEED=7`.

use std::collections::BTreeMap;

use karpenter::helm::template::{ReleaseInfo, functions, render};
use karpenter::helm::{Capabilities, registry, values};
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
    let templates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/charts/karpenter/templates");
    let texts = std::fs::read_dir(templates).unwrap().map(|f| std::fs::read_to_string(f.unwrap().path()).unwrap());
    let actions: String =
        texts.collect::<String>().split("{{").skip(1).map(|a| format!("{{{{{}}}}}\n", a.split("}}").next().unwrap())).collect();
    let absent: Vec<_> = USED.iter().filter(|word| !actions.contains(**word)).collect();
    assert!(absent.is_empty(), "absent from the test charts: {absent:?}");
    let words = ["tpl", "toYaml", "hasKey", "semverCompare", "include", "and"];
    assert!(words.iter().all(|w| functions::known(w)) && !functions::known("lookup"));
}

#[tokio::test(flavor = "multi_thread")]
async fn we_render_what_helm_renders() {
    let lab = Lab::shared();
    let count = std::env::var("HELM_RENDERS").map_or(60, |n| n.parse().unwrap());
    let seed: u64 = std::env::var("HELM_SEED").map_or(20_261_122, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("karpenter-1.14.1.tgz");
    lab.helm(&[
        "pull",
        &format!("{}/karpenter", lab.chart_repository()),
        "--plain-http",
        "--version",
        "1.14.1",
        "-d",
        dir.path().to_str().unwrap(),
    ]);
    let chart = registry::pull(archive.to_str().unwrap(), "karpenter", None, None).await.unwrap();
    let mut random = Random(seed | 1);
    let (mut pairs, mut failures) = (vec![], 0);
    for turn in 0..count {
        let text = FIXED.get(turn).map_or_else(|| random.values(), |text| (*text).to_owned());
        let (release, monitoring) = (*random.pick(&["karpenter", "harbor"]), random.below(2) == 0);
        let file = dir.path().join("values.yaml");
        std::fs::write(&file, &text).unwrap();
        let mut helm = lab.command(["helm", "helm", "helm4"][random.below(3)]);
        helm.args(["template", release, archive.to_str().unwrap(), "-n", "kube-system", "--kube-version", "v1.36.3", "-f"]).arg(&file);
        let mut capabilities = Capabilities::new("v1.36.3").unwrap();
        if monitoring {
            helm.args(["--api-versions", "monitoring.coreos.com/v1"]);
            capabilities.api_versions.insert("monitoring.coreos.com/v1".into());
        }
        let helm = helm.output().unwrap();
        let info = ReleaseInfo { name: release.into(), namespace: "kube-system".into(), revision: 1, upgrade: false };
        let ours = values::parse("values", std::slice::from_ref(&text)).and_then(|user| render(&chart, &user, &info, &capabilities));
        match (helm.status.success(), ours) {
            (true, Ok(rendered)) => pairs.push((text, String::from_utf8(helm.stdout).unwrap(), rendered.manifest)),
            (false, Err(_)) => failures += 1,
            // `helm template` prints an object without a usable name, and only the API server refuses it
            (true, Err(error)) if error.message.contains("without apiVersion, kind or metadata.name") => failures += 1,
            (_, ours) => {
                let (helm, ours) = (String::from_utf8_lossy(&helm.stderr), ours.map(|_| "nothing is wrong"));
                panic!("seed {seed}, turn {turn}: helm says {helm}\nwe say {ours:?}\n{text}")
            }
        }
    }
    println!("{} values files rendered alike, {failures} refused alike (seed {seed})", pairs.len());
    assert!(pairs.len() > count / 3 && failures > 0, "the generator is out of balance");
    let manifests: Vec<&String> = pairs.iter().flat_map(|(_, helm, ours)| [helm, ours]).collect();
    for ((text, ..), both) in pairs.iter().zip(objects(lab, &manifests).chunks(2)) {
        assert_eq!(both[0], both[1], "seed {seed}:\n{text}");
        assert!(!both[0].is_empty());
    }
}

/// The objects of manifests by their address, read by another YAML reader than ours; by ours where that one knows less than helm (a tab
/// after a colon).
fn objects(lab: &Lab, manifests: &[&String]) -> Vec<BTreeMap<String, Value>> {
    use std::io::Write;
    let script = "
import sys, json, yaml
def read(text):
    try: return [d for d in yaml.load_all(text, yaml.SafeLoader) if d]
    except yaml.YAMLError: return None
print(json.dumps([read(text) for text in json.load(sys.stdin)], default=str))";
    let mut python = lab.command(lab.var("LAB_PYTHON"));
    let mut python = python.args(["-c", script]).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut input = python.stdin.take().unwrap();
    let text = serde_json::to_string(manifests).unwrap();
    std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
    let read: Vec<Value> = serde_json::from_slice(&python.wait_with_output().unwrap().stdout).unwrap();
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
