//! The process, driven as OpenTofu and Terraform drive it.

#[path = "common/plugin.rs"]
#[allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod client;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use client::{BINARY, COOKIE, Identity, Plugin, Start, connect, ended_well};
use karpenter::plugin::proto::control::Empty;
use karpenter::plugin::proto::control::grpc_stdio_client::GrpcStdioClient;
use karpenter::plugin::proto::health::health_client::HealthClient;
use karpenter::plugin::proto::health::{HealthCheckRequest, health_check_response::ServingStatus};
use karpenter::plugin::proto::tfplugin5::provider_client::ProviderClient;
use karpenter::plugin::proto::tfplugin5::{self as proto, DynamicValue};
use tower::{Service, ServiceExt};

/// A type that the provider has.
const TYPE: &str = "karpenter_nodepool";

#[tokio::test]
async fn a_handshake_is_one_line() {
    let plugin = Plugin::start().await;
    assert!(plugin.line.starts_with("1|5|unix|/"), "{}", plugin.line);
    assert!(plugin.socket.exists());
    assert_eq!(plugin.stderr(), "");
    let plain = Plugin::start_with(Start { identity: None, ..Start::default() }).await;
    assert!(plain.line.ends_with("|grpc|"), "{}", plain.line);
}

#[tokio::test]
async fn the_schema_comes_over_mutual_tls_and_over_plain_text() {
    for identity in [Some(Identity::new()), None] {
        let plugin = Plugin::start_with(Start { identity, ..Start::default() }).await;
        let schema = plugin.provider().await.get_schema(proto::get_provider_schema::Request {}).await.unwrap().into_inner();
        assert_eq!(schema.diagnostics, []);
        assert!(schema.provider.unwrap().block.unwrap().attributes.iter().any(|attribute| attribute.name == "cluster_name"));
        assert!(schema.resource_schemas.contains_key(TYPE), "{:?}", schema.resource_schemas.keys());
        let capabilities = schema.server_capabilities.unwrap();
        assert!(capabilities.plan_destroy && capabilities.get_provider_schema_optional && capabilities.move_resource_state);
    }
}

#[tokio::test]
async fn what_there_is_none_of_is_empty() {
    let plugin = Plugin::start().await;
    let mut provider = plugin.provider().await;
    let functions = provider.get_functions(proto::get_functions::Request {}).await.unwrap().into_inner();
    assert_eq!(functions, Default::default());
    let metadata = provider.get_metadata(proto::get_metadata::Request {}).await.unwrap().into_inner();
    assert!(metadata.resources.iter().any(|resource| resource.type_name == TYPE) && metadata.data_sources.is_empty());
    let called = provider.call_function(proto::call_function::Request { name: "f".into(), arguments: vec![] }).await.unwrap();
    assert_eq!(called.into_inner().error.unwrap().text, "there is no function \"f\"");
    let request = proto::list_resource::Request { type_name: TYPE.into(), ..Default::default() };
    let mut listed = provider.list_resource(request).await.unwrap().into_inner();
    assert_eq!(listed.message().await.unwrap().unwrap().diagnostic[0].summary, "there is no list resource \"karpenter_nodepool\"");
    assert_eq!(listed.message().await.unwrap(), None);
}

#[tokio::test]
async fn every_type_has_an_identity() {
    let plugin = Plugin::start().await;
    let mut provider = plugin.provider().await;
    let answer = provider.get_resource_identity_schemas(proto::get_resource_identity_schemas::Request {}).await.unwrap().into_inner();
    assert_eq!(answer.diagnostics, []);
    let schema = provider.get_schema(proto::get_provider_schema::Request {}).await.unwrap().into_inner();
    assert_eq!(answer.identity_schemas.len(), schema.resource_schemas.len());
    for (type_name, identity) in &answer.identity_schemas {
        let attributes = &schema.resource_schemas[type_name].block.as_ref().unwrap().attributes;
        for attribute in &identity.identity_attributes {
            assert!(attribute.required_for_import != attribute.optional_for_import && !attribute.description.is_empty(), "{attribute:?}");
            let of_state =
                attributes.iter().find(|a| a.name == attribute.name).unwrap_or_else(|| panic!("{type_name} has no {attribute:?}"));
            assert_eq!(of_state.r#type, attribute.r#type);
        }
    }
    let raw_identity = Some(proto::RawState {
        json: br#"{"cluster_arn":"arn:aws:eks:eu-west-1:123456789012:cluster/a","name":"b"}"#.to_vec(),
        ..Default::default()
    });
    let version = answer.identity_schemas[TYPE].version;
    let request = proto::upgrade_resource_identity::Request { type_name: TYPE.into(), version, raw_identity };
    let upgraded = provider.upgrade_resource_identity(request).await.unwrap().into_inner();
    assert!(upgraded.upgraded_identity.is_some() && upgraded.diagnostics.is_empty(), "{upgraded:?}");
}

#[tokio::test]
async fn only_the_holder_of_the_clients_certificate_is_served() {
    let right = Identity::new();
    let without_key = right.with_another_key();
    let start = Start { identity: Some(right), environment: vec![("TF_LOG".into(), "debug".into())], ..Start::default() };
    let plugin = Plugin::start_with(start).await;
    for identity in [Some(Identity::new()), Some(without_key), None] {
        // TLS 1.3's client is done before the server has seen its certificate: the call shows the refusal
        if let Ok(channel) = plugin.connect_as(identity.as_ref()).await {
            let called = ProviderClient::new(channel).get_schema(proto::get_provider_schema::Request {}).await;
            assert!(called.is_err(), "served {called:?}");
        }
    }
    let channel = connect(&plugin.socket, None).await.unwrap();
    assert!(ProviderClient::new(channel).get_schema(proto::get_provider_schema::Request {}).await.is_err(), "served plain text");
    for reason in ["ApplicationVerificationFailure", "BadSignature", "no certificates", "corrupt message"] {
        plugin.logs(reason).await;
    }
    assert!(!plugin.stderr().contains("GetSchema"), "{}", plugin.stderr());
    plugin.provider().await.get_schema(proto::get_provider_schema::Request {}).await.expect("the right client is still served");
}

#[tokio::test]
async fn malformed_values_are_diagnostics() {
    let plugin = Plugin::start().await;
    let mut provider = plugin.provider().await;
    let type_name = TYPE.to_owned();
    let values = [
        None,
        Some(DynamicValue::default()),
        Some(DynamicValue { msgpack: vec![0xc1], json: vec![] }),
        Some(DynamicValue { msgpack: vec![0xdf, 0xff, 0xff, 0xff, 0xff], json: vec![] }),
        Some(DynamicValue { msgpack: vec![0x81, 0xa3, b'f', b'o', b'o', 0xc0], json: vec![] }),
        Some(DynamicValue { msgpack: vec![], json: b"{\"foo\":".to_vec() }),
    ];
    for bad in values {
        let request = proto::prepare_provider_config::Request { config: bad.clone() };
        refused("config", &provider.prepare_provider_config(request).await.unwrap().into_inner().diagnostics);
        let request = proto::configure::Request { config: bad.clone(), ..Default::default() };
        refused("config", &provider.configure(request).await.unwrap().into_inner().diagnostics);
        let request =
            proto::validate_resource_type_config::Request { type_name: type_name.clone(), config: bad.clone(), ..Default::default() };
        refused("config", &provider.validate_resource_type_config(request).await.unwrap().into_inner().diagnostics);
        let request = proto::read_resource::Request { type_name: type_name.clone(), current_state: bad.clone(), ..Default::default() };
        refused("current_state", &provider.read_resource(request).await.unwrap().into_inner().diagnostics);
        let request = proto::plan_resource_change::Request { type_name: type_name.clone(), prior_state: bad.clone(), ..Default::default() };
        refused("prior_state", &provider.plan_resource_change(request).await.unwrap().into_inner().diagnostics);
        let request = proto::apply_resource_change::Request { type_name: type_name.clone(), prior_state: bad, ..Default::default() };
        refused("prior_state", &provider.apply_resource_change(request).await.unwrap().into_inner().diagnostics);
    }
    let raw_state = Some(proto::RawState { json: b"{".to_vec(), ..Default::default() });
    let request = proto::upgrade_resource_state::Request { type_name: type_name.clone(), version: 0, raw_state: raw_state.clone() };
    refused("stored state", &provider.upgrade_resource_state(request).await.unwrap().into_inner().diagnostics);
    let request = proto::move_resource_state::Request { target_type_name: type_name, source_state: raw_state, ..Default::default() };
    refused("source_state", &provider.move_resource_state(request).await.unwrap().into_inner().diagnostics);
    assert_eq!(plugin.stderr(), "");
}

fn refused(what: &str, diagnostics: &[proto::Diagnostic]) {
    assert_eq!(diagnostics.len(), 1, "{diagnostics:?}");
    let one = &diagnostics[0];
    assert_eq!(one.severity(), proto::diagnostic::Severity::Error);
    assert_eq!(one.summary, format!("could not decode the {what} that the client sent"));
    assert!(!one.detail.is_empty());
}

#[tokio::test]
async fn a_stored_state_is_upgraded_by_name() {
    let plugin = Plugin::start().await;
    let mut provider = plugin.provider().await;
    let mut upgrade = async |json: &str| {
        let raw_state = Some(proto::RawState { json: json.into(), ..Default::default() });
        let request = proto::upgrade_resource_state::Request { type_name: TYPE.into(), version: 0, raw_state };
        provider.upgrade_resource_state(request).await.unwrap().into_inner()
    };
    let upgraded = upgrade(r#"{"name":"a"}"#).await;
    assert!(upgraded.diagnostics.is_empty() && upgraded.upgraded_state.is_some(), "{upgraded:?}");
    let refused = upgrade(r#"{"name":"a","colour":"b"}"#).await;
    assert_eq!(refused.diagnostics[0].detail, "colour: there is no such attribute");
}

#[tokio::test]
async fn a_truncated_message_is_an_error_and_no_end() {
    let plugin = Plugin::start().await;
    let mut channel = plugin.connect().await;
    // a protobuf field that is longer than its message, a frame that is longer than its stream, no frame at all, another encoding
    for body in ["\0\0\0\0\x03\x0a\x7fa", "\0\0\0\0\x7f\x0a\x01a", "", "\x01\0\0\0\x01a"] {
        let request =
            http::Request::post("/tfplugin5.Provider/ReadResource").header("content-type", "application/grpc").header("te", "trailers");
        let request = request.body(tonic::body::Body::new(body.to_owned())).unwrap();
        let response = channel.ready().await.unwrap().call(request).await.unwrap();
        let status = response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
        assert!(status.as_deref().is_some_and(|status| status != "0"), "{body:?}: {status:?}");
    }
    ProviderClient::new(channel).get_schema(proto::get_provider_schema::Request {}).await.expect("still serving");
    assert_eq!(plugin.stderr(), "");
}

#[tokio::test]
async fn an_unknown_type_is_a_diagnostic() {
    let plugin = Plugin::start().await;
    let request = proto::import_resource_state::Request { type_name: "karpenter_nodepol".into(), id: "a".into(), ..Default::default() };
    let imported = plugin.provider().await.import_resource_state(request).await.unwrap().into_inner();
    assert_eq!(imported.diagnostics[0].summary, "there is no resource type \"karpenter_nodepol\"");
    assert_eq!(imported.imported_resources, []);
}

#[tokio::test]
async fn shutdown_ends_it_and_removes_the_socket() {
    let plugin = Plugin::start().await;
    let socket = plugin.socket.clone();
    // as the real client does: this call stays open
    let mut output = GrpcStdioClient::new(plugin.connect().await).stream_stdio(Empty {}).await.unwrap().into_inner();
    let (status, _) = plugin.shutdown().await; // how fast, `make bench` tells
    assert!(ended_well(status), "{status}");
    assert!(!socket.exists());
    assert!(!matches!(output.message().await, Ok(Some(_))));
}

#[tokio::test]
async fn stop_and_interrupts_do_not_end_it() {
    let plugin = Plugin::start().await;
    let mut provider = plugin.provider().await;
    plugin.signal("INT");
    assert_eq!(provider.stop(proto::stop::Request {}).await.unwrap().into_inner().error, "");
    plugin.signal("INT");
    tokio::time::sleep(Duration::from_millis(200)).await;
    provider.get_schema(proto::get_provider_schema::Request {}).await.unwrap();
    let (status, _) = plugin.shutdown().await;
    assert!(ended_well(status), "{status}");
}

#[tokio::test]
async fn health_is_that_of_the_service_plugin() {
    let plugin = Plugin::start().await;
    let mut health = HealthClient::new(plugin.connect().await);
    let checked = health.check(HealthCheckRequest { service: "plugin".into() }).await.unwrap().into_inner();
    assert_eq!(checked.status(), ServingStatus::Serving);
    assert_eq!(health.check(HealthCheckRequest { service: "other".into() }).await.unwrap_err().code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn it_ends_when_its_client_does() {
    // every connection has gone, though the parent (this test) lives
    let mut plugin = Plugin::start().await;
    drop(plugin.provider().await);
    assert!(ended_well(plugin.exit().await) && !plugin.socket.exists());

    // the parent has gone before it ever connected
    let command = ["sh", "-c", "\"$0\"; true", BINARY].map(str::to_owned).to_vec();
    let mut plugin = Plugin::start_with(Start { command, ..Start::default() }).await;
    let process = format!("/proc/{}", plugin.pid());
    assert!(Path::new(&process).exists() && plugin.process.id() != Some(plugin.pid()));
    plugin.process.kill().await.unwrap();
    gone_soon(Path::new(&process)).await;
    assert!(!plugin.socket.exists());
}

#[tokio::test]
async fn it_outlives_a_reconnect() {
    let plugin = Plugin::start().await;
    for _ in 0..3 {
        plugin.provider().await.get_schema(proto::get_provider_schema::Request {}).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(ended_well(plugin.shutdown().await.0));
}

#[tokio::test]
async fn termination_removes_the_socket() {
    let mut plugin = Plugin::start().await;
    plugin.signal("TERM");
    assert!(ended_well(plugin.exit().await) && !plugin.socket.exists());
}

#[tokio::test]
async fn a_person_is_told_what_this_is() {
    for cookie in ["", "some other program's"] {
        let mut command = tokio::process::Command::new(BINARY);
        let output = command.env(COOKIE.0, cookie).output().await.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(output.stdout.is_empty());
        assert!(String::from_utf8(output.stderr).unwrap().contains("required_providers"));
    }
}

#[tokio::test]
async fn a_certificate_that_is_none_is_refused_at_the_start() {
    let mut command = tokio::process::Command::new(BINARY);
    let output = command.env(COOKIE.0, COOKIE.1).env("PLUGIN_CLIENT_CERT", "certificate").output().await.unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(String::from_utf8(output.stderr).unwrap().contains("PLUGIN_CLIENT_CERT"));
}

#[tokio::test]
async fn logs_are_lines_of_json_at_the_wanted_level() {
    let start =
        Start { environment: vec![("TF_LOG".into(), "error".into()), ("TF_LOG_PROVIDER".into(), "debug".into())], ..Start::default() };
    let plugin = Plugin::start_with(start).await;
    plugin.provider().await.get_schema(proto::get_provider_schema::Request {}).await.unwrap();
    plugin.logs("GetSchema").await;
    let stderr = plugin.stderr();
    let lines: Vec<serde_json::Value> = stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let served = lines.iter().find(|line| line["rpc"] == "GetSchema").expect(&stderr);
    assert_eq!(
        (&served["@level"], &served["@message"], &served["@module"]),
        (&"debug".into(), &"served".into(), &"karpenter.server".into())
    );
    // 2006-01-02T15:04:05.000000Z
    assert_eq!(served["@timestamp"].as_str().map(str::len), Some(27));
}

#[tokio::test]
async fn a_debugged_plugin_serves_one_client_after_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(BINARY);
    command.arg("-debug").env("PLUGIN_UNIX_SOCKET_DIR", directory.path()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(process.stdout.take().unwrap()));
    let line = lines.next_line().await.unwrap().unwrap();
    let json = line.strip_prefix("TF_REATTACH_PROVIDERS='").and_then(|rest| rest.strip_suffix('\'')).expect(&line);
    let plugins: serde_json::Value = serde_json::from_str(json).unwrap();
    let plugin = &plugins["registry.opentofu.org/karpenter-tofu/karpenter"];
    assert_eq!(plugin, &plugins["registry.terraform.io/karpenter-tofu/karpenter"]);
    assert_eq!((&plugin["Protocol"], &plugin["ProtocolVersion"], &plugin["Test"]), (&"grpc".into(), &5.into(), &true.into()));
    assert_eq!(plugin["Pid"].as_u64(), process.id().map(u64::from));
    let socket = Path::new(plugin["Addr"]["String"].as_str().unwrap());
    for _ in 0..2 {
        let channel = connect(socket, None).await.unwrap();
        ProviderClient::new(channel).get_schema(proto::get_provider_schema::Request {}).await.unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    client::signal(process.id().unwrap(), "INT");
    assert!(ended_well(process.wait().await.unwrap()) && !socket.exists());
}

#[tokio::test]
async fn a_long_socket_directory_is_no_obstacle() {
    let long = tempfile::tempdir().unwrap();
    let long = long.path().join("x".repeat(100));
    std::fs::create_dir(&long).unwrap();
    let environment = vec![("TMPDIR".into(), long.to_str().unwrap().into()), ("PLUGIN_UNIX_SOCKET_DIR".into(), String::new())];
    let plugin = Plugin::start_with(Start { environment, ..Start::default() }).await;
    assert!(plugin.socket.starts_with("/tmp"));
    plugin.shutdown().await;
}

#[tokio::test]
async fn the_socket_is_its_users_or_also_a_groups() {
    let mode = |plugin: &Plugin| std::fs::metadata(&plugin.socket).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&Plugin::start().await), 0o600);
    for naming in ["-g", "-gn"] {
        let group = std::process::Command::new("id").arg(naming).output().unwrap().stdout;
        let group = String::from_utf8(group).unwrap().trim().to_owned();
        let environment = vec![("PLUGIN_UNIX_SOCKET_GROUP".into(), group)];
        assert_eq!(mode(&Plugin::start_with(Start { environment, ..Start::default() }).await), 0o660);
    }
    let mut command = tokio::process::Command::new(BINARY);
    let output = command.env(COOKIE.0, COOKIE.1).env("PLUGIN_UNIX_SOCKET_GROUP", "no such group").output().await.unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(String::from_utf8(output.stderr).unwrap().contains("PLUGIN_UNIX_SOCKET_GROUP"));
}

#[tokio::test]
async fn messages_may_be_large() {
    let plugin = Plugin::start().await;
    let json = format!(r#"{{"name":"{}"}}"#, "a".repeat(16 << 20)).into_bytes();
    let raw_state = Some(proto::RawState { json, ..Default::default() });
    let request = proto::upgrade_resource_state::Request { type_name: TYPE.into(), version: 0, raw_state };
    let upgraded = plugin.provider().await.upgrade_resource_state(request).await.unwrap().into_inner();
    assert!(upgraded.upgraded_state.is_some_and(|state| state.msgpack.len() > 16 << 20));
}

async fn gone_soon(path: &Path) {
    let started = Instant::now();
    while path.exists() {
        assert!(started.elapsed() < Duration::from_secs(10), "{} is still there", path.display());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
