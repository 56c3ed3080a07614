//! The command line of `export`, parsed.

use std::path::PathBuf;

use crate::tofu::value::Value;

/// What is to be exported, and whereto.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Name or ARN of the EKS cluster.
    pub cluster: Option<String>,
    /// AWS region.
    pub region: Option<String>,
    /// Profile of the shared AWS configuration files.
    pub profile: Option<String>,
    /// Path of a kubeconfig file.
    pub kubeconfig: Option<String>,
    /// Its context.
    pub context: Option<String>,
    /// File of manifests, in the place of a cluster; `-` is stdin.
    pub from: Option<String>,
    /// Where to write files; stdout where there is none.
    pub dir: Option<PathBuf>,
    /// Overwrite files.
    pub force: bool,
    /// Leave the `import` blocks out.
    pub no_import: bool,
}

impl Options {
    /// Parses what follows `export`.
    ///
    /// # Errors
    /// What is wrong, as a sentence.
    pub fn parse(arguments: &[&str]) -> Result<Options, String> {
        let mut options = Options::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let name = argument.strip_prefix('-').map(|name| name.strip_prefix('-').unwrap_or(name));
            let name = name.ok_or_else(|| format!("{argument:?} is no flag"))?;
            let (name, given) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value.to_owned())));
            let mut value = || {
                let value = given.clone().or_else(|| rest.next().map(|next| (*next).to_owned()));
                value.filter(|v| !v.is_empty()).map(Some).ok_or_else(|| format!("--{name} needs a value"))
            };
            match name {
                "cluster" => options.cluster = value()?,
                "region" => options.region = value()?,
                "profile" => options.profile = value()?,
                "kubeconfig" => options.kubeconfig = value()?,
                "context" => options.context = value()?,
                "from" => options.from = value()?,
                "dir" => options.dir = value()?.map(PathBuf::from),
                "force" if given.is_none() => options.force = true,
                "no-import" if given.is_none() => options.no_import = true,
                _ => return Err(format!("there is no flag {argument:?}")),
            }
        }
        let Options { cluster, region, profile, kubeconfig, context, from, dir, force, no_import } = &options;
        let reaches = [region, profile, kubeconfig, context].into_iter().any(Option::is_some);
        match (from, cluster) {
            (Some(_), _) if reaches => Err("--from reads no cluster: region, profile, kubeconfig and context have no use".to_owned()),
            (None, _) if *no_import => Err("--no-import is for --from".to_owned()),
            (None, None) if kubeconfig.is_none() && context.is_none() => {
                Err("say what to export: --cluster NAME, --kubeconfig FILE or --from FILE".to_owned())
            }
            _ if *force && dir.is_none() => Err("--force is for --dir".to_owned()),
            _ => Ok(options),
        }
    }

    /// The provider block that reaches the same cluster.
    pub fn provider(&self) -> Value {
        let text = |text: &Option<String>| text.clone().map_or(Value::Null, Value::from);
        let mut config =
            Value::object([("cluster_name", text(&self.cluster)), ("region", text(&self.region)), ("profile", text(&self.profile))]);
        if self.kubeconfig.is_some() || self.context.is_some() {
            let block = Value::object([("config_path", text(&self.kubeconfig)), ("config_context", text(&self.context))]);
            config.set("kubernetes", Value::List(vec![block]));
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_have_one_dash_or_two_and_their_value_after_a_space_or_an_equals_sign() {
        let options = Options::parse(&["--cluster", "demo", "-region=eu-west-1", "--dir=x", "--force"]).unwrap();
        let expected = Options {
            cluster: Some("demo".into()),
            region: Some("eu-west-1".into()),
            dir: Some("x".into()),
            force: true,
            ..Options::default()
        };
        assert_eq!(options, expected);
        assert_eq!(options.provider().attr("region").as_str(), Some("eu-west-1"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        for (arguments, reason) in [
            (&[][..], "say what to export"),
            (&["demo"], "\"demo\" is no flag"),
            (&["--cluster"], "--cluster needs a value"),
            (&["--cluster", "demo", "--force"], "--force is for --dir"),
            (&["--from", "x.yaml", "--region", "a"], "--from reads no cluster"),
            (&["--cluster", "demo", "--no-import"], "--no-import is for --from"),
            (&["--cluster", "demo", "--force=1"], "there is no flag \"--force=1\""),
        ] {
            let refused = Options::parse(arguments).unwrap_err();
            assert!(refused.contains(reason), "{arguments:?}: {refused}");
        }
    }
}
