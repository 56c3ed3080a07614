//! Logs as the client reads them: one JSON object a line on stderr, which it filters and shows under `TF_LOG`.

use std::io::Write;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

/// Installs the process's logger. Of other crates only warnings are logged: their traces hold tokens and whole requests.
pub fn install() {
    let level = level(|name| std::env::var(name).ok());
    let others = level.min(LevelFilter::WARN);
    let targets = Targets::new().with_default(others).with_target(env!("CARGO_CRATE_NAME"), level);
    // a second logger in a process is a test's; the first one serves
    let _ = tracing_subscriber::registry().with(Lines.with_filter(targets)).try_init();
}

/// `TF_LOG_PROVIDER`, else `TF_LOG`; neither: the client shows nothing anyway.
fn level(variable: impl Fn(&str) -> Option<String>) -> LevelFilter {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    match set("TF_LOG_PROVIDER").or_else(|| set("TF_LOG")).map(|level| level.to_ascii_uppercase()).as_deref() {
        None | Some("OFF") => LevelFilter::OFF,
        Some("ERROR") => LevelFilter::ERROR,
        Some("WARN") => LevelFilter::WARN,
        Some("INFO") => LevelFilter::INFO,
        Some("DEBUG") => LevelFilter::DEBUG,
        // TRACE, JSON, and what the client itself takes for TRACE
        Some(_) => LevelFilter::TRACE,
    }
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let mut line = Fields(Map::new());
        event.record(&mut line);
        line.0.insert("@level".into(), level.into());
        line.0.insert("@module".into(), event.metadata().target().replace("::", ".").into());
        line.0.insert("@timestamp".into(), Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true).into());
        let mut text = Value::Object(line.0).to_string();
        text.push('\n');
        // in one write, so that lines of two threads do not mix; with stderr closed there is nobody to tell
        let _ = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

struct Fields(Map<String, Value>);

impl Fields {
    fn insert(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "@message" } else { field.name() };
        self.0.insert(name.into(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.insert(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, json!(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_level_goes_first() {
        let with = |provider: &'static str, all: &'static str| {
            level(move |name| Some(if name == "TF_LOG_PROVIDER" { provider } else { all }.to_owned()))
        };
        assert_eq!(level(|_| None), LevelFilter::OFF);
        assert_eq!(with("", "debug"), LevelFilter::DEBUG);
        assert_eq!(with("error", "trace"), LevelFilter::ERROR);
        assert_eq!(with("", "JSON"), LevelFilter::TRACE);
    }
}
