//! The service around a resource type that answers as it is asked to.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::tofu::identity::{IdentityAttribute, VERSION};
use crate::tofu::path::Path;
use crate::tofu::schema::Schema;
use crate::tofu::value::Value;
use proto::provider_server::Provider as _;

struct Fake {
    schema: Schema,
    resources: Vec<Arc<dyn Resource>>,
}

/// Its values are null in every message here but where a test says otherwise.
struct Thing(Schema);

/// A thing.
#[derive(schemars::JsonSchema)]
#[expect(dead_code, reason = "a declaration, walked as JSON schema")]
struct Named {
    name: Option<String>,
}

impl Provider for Fake {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn resources(&self) -> &[Arc<dyn Resource>] {
        &self.resources
    }

    fn validate(&self, _: &Value) -> Diagnostics {
        panic!("validating")
    }

    fn configure(&self, _: Value) -> BoxFuture<'_, Diagnostics> {
        async { panic!("configuring {}", 7) }.boxed()
    }

    fn stop(&self) {
        panic!("stopping")
    }
}

impl Resource for Thing {
    fn type_name(&self) -> &'static str {
        "thing"
    }

    fn schema(&self) -> &Schema {
        &self.0
    }

    fn validate(&self, _: &Value) -> Diagnostics {
        panic!("validating")
    }

    fn plan(&self, request: PlanRequest) -> BoxFuture<'_, PlanResponse> {
        let path = Path::attribute("template").index(0).child("limits").key("cpu");
        let mut diagnostics = Diagnostics::default();
        diagnostics.warning(path.clone(), "summary", "detail");
        let planned_private = request.prior_private;
        async move { PlanResponse { planned_state: Value::Null, requires_replace: vec![path], planned_private, diagnostics } }.boxed()
    }

    fn apply(&self, _: ApplyRequest) -> BoxFuture<'_, ApplyResponse> {
        async { panic!("applying") }.boxed()
    }

    fn read(&self, ReadRequest { current_state, private }: ReadRequest) -> BoxFuture<'_, ReadResponse> {
        async { ReadResponse { new_state: current_state, private, diagnostics: Diagnostics::default() } }.boxed()
    }

    fn import(&self, id: String) -> BoxFuture<'_, ImportResponse> {
        if id == "hangs" {
            return std::future::pending().boxed();
        }
        let mut diagnostics = Diagnostics::default();
        if id.is_empty() {
            diagnostics.error(None, "no id", "");
        }
        async { ImportResponse { state: Value::object([("name", Value::from(id.clone()))]), private: id.into_bytes(), diagnostics } }
            .boxed()
    }

    fn identity(&self) -> &'static [IdentityAttribute] {
        &[IdentityAttribute { name: "name", required: true, description: "Its name." }]
    }

    fn identified(&self, identity: &Value) -> String {
        identity.attr("name").as_str().unwrap_or_default().to_owned()
    }
}

fn service() -> ProviderService {
    let thing: Arc<dyn Resource> = Arc::new(Thing(Schema::of::<Named>(0, &[])));
    ProviderService::new(Arc::new(Fake { schema: Schema::default(), resources: vec![thing] }))
}

fn null() -> Option<proto::DynamicValue> {
    Some(proto::DynamicValue { msgpack: vec![0xc0], json: vec![] })
}

/// `{ name = NAME }`, a name of one letter.
fn named(name: u8) -> Option<proto::DynamicValue> {
    Some(proto::DynamicValue { msgpack: [&[0x81, 0xa4][..], b"name", &[0xa1, name]].concat(), json: vec![] })
}

fn identity(name: u8) -> Option<proto::ResourceIdentityData> {
    Some(proto::ResourceIdentityData { identity_data: named(name) })
}

#[tokio::test]
async fn panics_are_diagnostics() {
    let service = service();
    let request = proto::apply_resource_change::Request {
        type_name: "thing".into(),
        prior_state: null(),
        planned_state: null(),
        config: null(),
        ..Default::default()
    };
    let applied = service.apply_resource_change(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(applied.diagnostics[0].summary, "the provider panicked in ApplyResourceChange");
    assert!(applied.diagnostics[0].detail.starts_with("applying"));

    let request = proto::validate_resource_type_config::Request { type_name: "thing".into(), config: null(), client_capabilities: None };
    let validated = service.validate_resource_type_config(Request::new(request)).await.unwrap().into_inner();
    assert!(validated.diagnostics[0].detail.starts_with("validating"));

    let configured = service.configure(Request::new(proto::configure::Request { config: null(), ..Default::default() })).await;
    assert!(configured.unwrap().into_inner().diagnostics[0].detail.starts_with("configuring 7"));
    let prepared = service.prepare_provider_config(Request::new(proto::prepare_provider_config::Request { config: null() })).await;
    assert!(prepared.unwrap().into_inner().diagnostics[0].detail.starts_with("validating"));
    let stopped = service.stop(Request::new(proto::stop::Request {})).await.unwrap().into_inner();
    assert!(stopped.error.starts_with("stopping"));
}

#[tokio::test]
async fn plans_carry_paths_private_data_and_identity() {
    let request = proto::plan_resource_change::Request {
        type_name: "thing".into(),
        prior_state: null(),
        proposed_new_state: null(),
        config: null(),
        prior_private: b"p".to_vec(),
        prior_identity: identity(b'a'),
        ..Default::default()
    };
    let planned = service().plan_resource_change(Request::new(request)).await.unwrap().into_inner();
    use proto::attribute_path::step::Selector::{AttributeName, ElementKeyInt, ElementKeyString};
    let steps = [AttributeName("template".into()), ElementKeyInt(0), AttributeName("limits".into()), ElementKeyString("cpu".into())];
    let steps = steps.map(|selector| proto::attribute_path::Step { selector: Some(selector) });
    let path = proto::AttributePath { steps: steps.into() };
    assert_eq!(planned.diagnostics[0].attribute.as_ref(), Some(&path));
    assert_eq!(planned.requires_replace, [path]);
    assert_eq!(planned.diagnostics[0].severity(), proto::diagnostic::Severity::Warning);
    assert_eq!((planned.planned_private, planned.planned_identity), (b"p".to_vec(), identity(b'a')));
    assert_eq!(planned.planned_state, null());
}

#[tokio::test]
async fn reads_echo_private_data_and_identity() {
    // a state that was stored without an identity gets the one of its object; one that has it keeps it, whatever the state says
    for (current, kept) in [(None, b'b'), (identity(b'a'), b'a')] {
        let request = proto::read_resource::Request {
            type_name: "thing".into(),
            current_state: named(b'b'),
            private: b"p".to_vec(),
            current_identity: current,
            ..Default::default()
        };
        let read = service().read_resource(Request::new(request)).await.unwrap().into_inner();
        assert_eq!(read.new_state, named(b'b'));
        assert_eq!((read.private, read.new_identity), (b"p".to_vec(), identity(kept)));
    }
}

#[tokio::test]
async fn an_identity_has_a_schema_imports_and_is_stored() {
    let service = service();
    let schemas = service.get_resource_identity_schemas(Request::new(proto::get_resource_identity_schemas::Request {})).await.unwrap();
    let schema = schemas.into_inner().identity_schemas.remove("thing").unwrap();
    assert_eq!((schema.version, schema.identity_attributes.len()), (VERSION, 1));
    let name = &schema.identity_attributes[0];
    assert_eq!((name.name.as_str(), name.r#type.as_slice(), name.required_for_import), ("name", &b"\"string\""[..], true));

    let request = proto::import_resource_state::Request { type_name: "thing".into(), identity: identity(b'a'), ..Default::default() };
    let imported = service.import_resource_state(Request::new(request)).await.unwrap().into_inner().imported_resources.remove(0);
    assert_eq!((imported.state, imported.identity), (named(b'a'), identity(b'a')));

    let upgrade = async |version: i64, json: &str| {
        let raw_identity = Some(proto::RawState { json: json.into(), ..Default::default() });
        let request = proto::upgrade_resource_identity::Request { type_name: "thing".into(), version, raw_identity };
        service.upgrade_resource_identity(Request::new(request)).await.unwrap().into_inner()
    };
    assert_eq!(upgrade(VERSION, r#"{"name":"a"}"#).await.upgraded_identity, identity(b'a'));
    // another type's, after a move
    assert_eq!(upgrade(1, r#"{"name":"a","kind":"b"}"#).await.upgraded_identity, identity(b'a'));
    let refused = upgrade(VERSION, r#"{"colour":"a"}"#).await;
    assert_eq!(refused.diagnostics[0].summary, "could not decode the stored identity that the client sent");
}

#[tokio::test]
async fn an_import_is_one_object_or_an_error() {
    let import = async |id: &str| {
        let request = proto::import_resource_state::Request { type_name: "thing".into(), id: id.into(), ..Default::default() };
        service().import_resource_state(Request::new(request)).await.unwrap().into_inner()
    };
    let imported = import("a").await;
    assert_eq!((imported.imported_resources.len(), imported.imported_resources[0].type_name.as_str()), (1, "thing"));
    let refused = import("").await;
    assert_eq!((refused.imported_resources.len(), refused.diagnostics.len()), (0, 1));
}

#[tokio::test]
async fn a_state_of_a_newer_schema_and_a_foreign_one_are_refused() {
    let raw_state = Some(proto::RawState { json: b"{}".to_vec(), ..Default::default() });
    let request = proto::upgrade_resource_state::Request { type_name: "thing".into(), version: 1, raw_state: raw_state.clone() };
    let upgraded = service().upgrade_resource_state(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(upgraded.diagnostics[0].summary, "the stored state is too new");

    let request = proto::move_resource_state::Request {
        source_provider_address: "registry.opentofu.org/hashicorp/kubernetes".into(),
        source_type_name: "kubernetes_manifest".into(),
        source_state: raw_state,
        target_type_name: "thing".into(),
        ..Default::default()
    };
    let moved = service().move_resource_state(Request::new(request)).await.unwrap().into_inner();
    let summary = "thing cannot take over kubernetes_manifest of registry.opentofu.org/hashicorp/kubernetes";
    assert_eq!(moved.diagnostics[0].summary, summary);
}

#[tokio::test]
async fn stop_ends_what_changes_nothing() {
    let service = service();
    let import = async |id: &str| {
        let request = proto::import_resource_state::Request { type_name: "thing".into(), id: id.into(), ..Default::default() };
        service.import_resource_state(Request::new(request)).await.unwrap().into_inner()
    };
    let (imported, _) = tokio::join!(import("hangs"), service.stop(Request::new(proto::stop::Request {})));
    assert_eq!(imported.diagnostics[0].summary, "stopped");
    // a process under a debugger goes on
    assert_eq!(import("a").await.diagnostics, []);
}
