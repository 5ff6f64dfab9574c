//! Who may call what: the router is built from this table, so that a route without a declared permission cannot exist.
//!
//! Each operation stands here once, under [`public`] or under exactly one [`Permission`]. The declaration becomes the
//! check in front of the handler and, in the OpenAPI document, its `security`, `x-usp-permission` and 401.

use std::sync::OnceLock;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_request};
use axum::{Extension, Router};
use usp_auth::Permission;
use usp_model::{Error, ErrorKind};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

use crate::openapi::Access;
use crate::problem::{Failure, write_problems};
use crate::rest::input::caller::require;
use crate::rest::input::query::refuse_parameters;
use crate::rest::{
    admin, auth, buckets, content, docs, events, files, health, multipart, queue, rules, runs, store, tus,
    unread, upload,
};
use crate::{Gateway, openapi};

struct Route {
    access: Access,
    methods: UtoipaMethodRouter<Gateway>,
}

fn public(methods: UtoipaMethodRouter<Gateway>) -> Route {
    Route { access: Access::Public, methods }
}

fn takes(permission: Permission, methods: UtoipaMethodRouter<Gateway>) -> Route {
    Route { access: Access::Takes(permission), methods }
}

/// Below `/api/v1`.
fn api() -> Vec<Route> {
    vec![
        public(routes!(auth::issue_token)),
        takes(Permission::SelfRead, routes!(auth::show_me)),
        takes(Permission::BucketCreate, routes!(buckets::create_bucket)),
        takes(Permission::BucketRead, routes!(buckets::list_buckets)),
        takes(Permission::BucketRead, routes!(buckets::show_bucket)),
        takes(Permission::BucketManage, routes!(buckets::change_bucket)),
        takes(Permission::BucketDelete, routes!(buckets::delete_bucket)),
        takes(Permission::FileWrite, routes!(upload::put_file)),
        takes(Permission::FileWrite, routes!(multipart::post_files)),
        public(routes!(tus::describe_uploads)),
        takes(Permission::FileWrite, routes!(tus::creation::create_upload)),
        public(routes!(tus::describe_upload)),
        takes(Permission::FileWrite, routes!(tus::session::show_upload)),
        takes(Permission::FileWrite, routes!(tus::session::append_to_upload)),
        takes(Permission::FileWrite, routes!(tus::session::terminate_upload)),
        takes(Permission::FileWrite, routes!(tus::session::override_method)),
        takes(Permission::FileRead, routes!(files::list_files)),
        takes(Permission::FileRead, routes!(content::read_by_key)),
        takes(Permission::FileDelete, routes!(files::delete_by_key)),
        takes(Permission::FileRead, routes!(files::show_file)),
        takes(Permission::FileWrite, routes!(files::change_file)),
        takes(Permission::FileDelete, routes!(files::delete_file)),
        takes(Permission::FileRead, routes!(content::read_by_id)),
        takes(Permission::FileRead, routes!(files::list_versions)),
        takes(Permission::FileRead, routes!(files::show_status)),
        takes(Permission::RunRead, routes!(runs::list_runs_of_file)),
        takes(Permission::RunManage, routes!(runs::start_run)),
        takes(Permission::EventRead, routes!(events::follow_file)),
        takes(Permission::EventRead, routes!(events::follow)),
        takes(Permission::RunRead, routes!(runs::list_runs)),
        takes(Permission::RunRead, routes!(runs::show_run)),
        takes(Permission::RunManage, routes!(runs::retry_run)),
        takes(Permission::RunManage, routes!(runs::retry_runs)),
        takes(Permission::RunManage, routes!(runs::cancel_run)),
        takes(Permission::RuleRead, routes!(rules::list_rules)),
        takes(Permission::RuleRead, routes!(rules::show_rule)),
        takes(Permission::RuleManage, routes!(rules::put_rule)),
        takes(Permission::RuleManage, routes!(rules::delete_rule)),
        takes(Permission::RuleRead, routes!(rules::test_rule)),
        takes(Permission::UserManage, routes!(admin::create_user)),
        takes(Permission::UserManage, routes!(admin::list_users)),
        takes(Permission::UserManage, routes!(admin::change_user)),
        takes(Permission::UserManage, routes!(admin::delete_user)),
        takes(Permission::SelfRead, routes!(admin::create_api_key)),
        takes(Permission::SelfRead, routes!(admin::list_api_keys)),
        takes(Permission::SelfRead, routes!(admin::revoke_api_key)),
        takes(Permission::StatsRead, routes!(admin::show_stats)),
        takes(Permission::StatsRead, routes!(queue::show_queue)),
        takes(Permission::StoreManage, routes!(store::collect)),
        takes(Permission::StoreManage, routes!(store::start_scrub)),
        takes(Permission::StoreManage, routes!(store::show_scrub)),
        takes(Permission::StoreManage, routes!(store::stop_scrub)),
        takes(Permission::StoreManage, routes!(store::show_damage)),
        takes(Permission::StoreManage, routes!(store::check)),
    ]
}

/// Beside `/api/v1`.
fn beside_api() -> Vec<Route> {
    vec![
        public(routes!(health::livez)),
        public(routes!(health::readyz)),
        public(routes!(docs::show_openapi)),
        public(routes!(docs::show_page)),
        public(routes!(docs::show_asset)),
        public(routes!(docs::show_start)),
    ]
}

/// The REST door: its routes and the documentation, ready to be served or called.
///
/// Shape: every failure, also of unknown paths and methods, is a problem document.
pub fn router(gateway: Gateway) -> Router {
    let (router, _document) = build(Some(&gateway)).split_for_parts();
    router
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(Extension(docs::Document(document)))
        .layer(from_fn(tus::add_headers))
        .layer(from_fn(write_problems))
        .layer(map_request(unread::drain_rest))
        .with_state(gateway)
}

async fn unknown_path() -> Failure {
    Error::new(ErrorKind::NotFound, "route request")
        .because("there is nothing under this path; /docs shows what there is")
        .into()
}

async fn unknown_method() -> Failure {
    Failure::method_not_allowed()
}

/// The OpenAPI document as it is served. It is the same for every gateway of this version.
fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| openapi::finish(build(None).into_openapi()))
}

/// Every route with its check in front, and the document that describes them.
fn build(gateway: Option<&Gateway>) -> OpenApiRouter<Gateway> {
    let add = |router: OpenApiRouter<Gateway>, route: Route| router.routes(route.guarded(gateway));
    let api = api().into_iter().fold(OpenApiRouter::default(), add);
    let router = OpenApiRouter::with_openapi(openapi::front_page()).nest("/api/v1", api);
    beside_api().into_iter().fold(router, add).layer(DefaultBodyLimit::disable())
}

impl Route {
    /// Without a gateway nothing is served: only the document is wanted.
    fn guarded(self, gateway: Option<&Gateway>) -> UtoipaMethodRouter<Gateway> {
        let (schemas, paths, mut methods) = self.methods;
        if let (Access::Takes(permission), Some(gateway)) = (self.access, gateway) {
            if !openapi::takes_parameters(&paths) {
                methods = methods.route_layer(from_fn(refuse_parameters));
            }
            methods = methods.route_layer(from_fn_with_state((gateway.clone(), permission), require));
        }
        (schemas, openapi::declare(paths, self.access), methods)
    }
}
