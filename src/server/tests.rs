//! The service around a resource type that answers as it is asked to.

use futures::FutureExt;
use futures::future::BoxFuture;

use super::*;
use crate::tofu::path::Path;
use crate::tofu::schema::Schema;
use crate::tofu::value::Value;
use proto::provider_server::Provider as _;

struct Fake {
    schema: Schema,
    resources: Vec<Arc<dyn Resource>>,
}

/// Its type is an empty object, which is null in every message here but where a test says otherwise.
struct Thing(Schema);

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
        async { ImportResponse { state: Value::object::<&str>([]), private: id.into_bytes(), diagnostics } }.boxed()
    }
}

fn service() -> ProviderService {
    let thing: Arc<dyn Resource> = Arc::new(Thing(Schema::default()));
    ProviderService::new(Arc::new(Fake { schema: Schema::default(), resources: vec![thing] }))
}

fn null() -> Option<proto::DynamicValue> {
    Some(proto::DynamicValue { msgpack: vec![0xc0], json: vec![] })
}

fn identity() -> Option<proto::ResourceIdentityData> {
    Some(proto::ResourceIdentityData { identity_data: null() })
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
        prior_identity: identity(),
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
    assert_eq!((planned.planned_private, planned.planned_identity), (b"p".to_vec(), identity()));
    assert_eq!(planned.planned_state, null());
}

#[tokio::test]
async fn reads_echo_private_data_and_identity() {
    let request = proto::read_resource::Request {
        type_name: "thing".into(),
        current_state: Some(proto::DynamicValue { msgpack: vec![0x80], json: vec![] }),
        private: b"p".to_vec(),
        current_identity: identity(),
        ..Default::default()
    };
    let read = service().read_resource(Request::new(request)).await.unwrap().into_inner();
    assert_eq!(read.new_state.map(|state| state.msgpack), Some(vec![0x80]));
    assert_eq!((read.private, read.new_identity), (b"p".to_vec(), identity()));
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
