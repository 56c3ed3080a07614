//! `orphans --cluster NAME`: what is left of a bundle, or of its Karpenter, that belongs to nothing that lives. It changes nothing.

use std::process::ExitCode;

use serde_json::json;

use crate::bundle::orphans::{Report, find};
use crate::{Error, Kind};

/// How it is called.
pub const USAGE: &str = "terraform-provider-karpenter orphans --cluster NAME [--region REGION] [--json]
    list what carries this provider's tag for the cluster (a name or an ARN), or was tagged by Karpenter for it, and belongs to nothing
    that lives; exit code 0: nothing, 2: something, 1: it could not be told
";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    cluster: String,
    region: Option<String>,
    json: bool,
}

/// Runs the command with what follows its name.
pub async fn run(arguments: &[&str]) -> ExitCode {
    let Some(options) = parse(arguments) else {
        eprint!("{USAGE}");
        return ExitCode::FAILURE;
    };
    match find(&options.cluster, options.region.as_deref()).await {
        Ok(report) => {
            print!("{}", if options.json { as_json(&report) } else { as_text(&report) });
            if report.orphans.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) }
        }
        Err(error) => {
            eprintln!("{}", explained(&error));
            ExitCode::FAILURE
        }
    }
}

fn parse(arguments: &[&str]) -> Option<Options> {
    let mut options = Options { cluster: String::new(), region: None, json: false };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match *argument {
            "--json" => options.json = true,
            "--cluster" => options.cluster = (*rest.next()?).to_owned(),
            "--region" => options.region = Some((*rest.next()?).to_owned()),
            other => match other.split_once('=')? {
                ("--cluster", name) => options.cluster = name.to_owned(),
                ("--region", region) => options.region = Some(region.to_owned()),
                _ => return None,
            },
        }
    }
    (!options.cluster.is_empty()).then_some(options)
}

fn as_text(report: &Report) -> String {
    let cluster = if report.cluster_exists { "" } else { ", which does not exist" };
    let mut text = match report.orphans.len() {
        0 => format!("nothing of {}{cluster} is left behind\n", report.cluster_arn),
        n => format!("{n} of {}{cluster}:\n", report.cluster_arn),
    };
    for orphan in &report.orphans {
        text.push_str(&format!("{:<25} {}  {}\n", orphan.kind, orphan.id, orphan.reason));
    }
    text
}

fn as_json(report: &Report) -> String {
    let Report { cluster_arn, cluster_exists, orphans } = report;
    let orphans: Vec<_> = orphans.iter().map(|o| json!({"kind": o.kind, "id": o.id, "reason": o.reason})).collect();
    format!("{:#}\n", json!({"cluster_arn": cluster_arn, "cluster_exists": cluster_exists, "orphans": orphans}))
}

fn explained(error: &Error) -> String {
    let remedy = match (error.kind, error.remedy.as_str()) {
        (Kind::NoCredentials | Kind::Unauthorized, "") => "Check the AWS credentials of this shell.",
        (_, remedy) => remedy,
    };
    format!("could not {error}\n{remedy}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_come_in_either_form() {
        let options = Options { cluster: "demo".into(), region: Some("us-east-1".into()), json: true };
        assert_eq!(parse(&["--cluster", "demo", "--region=us-east-1", "--json"]), Some(options));
        for wrong in [&[][..], &["--json"], &["--cluster"], &["demo"], &["--cluster", "a", "--what"]] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
