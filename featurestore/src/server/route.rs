//! Which address means what.

use crate::{FeatureError, Reason, Result, Versioned};
use axum::http::Method;

/// An endpoint with the names in its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Health,
    Metrics,
    OpenApi,
    Ping,
    FeatureStore,
    BatchFeatureStore,
    PrimaryKeyRead { database: String, table: String },
    PrimaryKeyBatch,
    OnlineFeatures,
    Push,
    WriteToOnlineStore,
    Groups,
    CreateGroup,
    DropGroup(Versioned),
    Rows(Versioned),
    AddFeatures(Versioned),
    DeleteRows(Versioned),
    Stream(Versioned),
    Views,
    CreateView,
    DropView(Versioned),
}

impl Route {
    /// The endpoint of a request.
    pub(crate) fn of(method: &Method, path: &str) -> Result<Route> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let versioned = |store: &str, name: &str, version: &str| -> Result<Versioned> {
            let version = version.parse::<i32>();
            let wrong = |_| FeatureError::new(Reason::InvalidRequest, "the version is no number");
            Ok(Versioned::new(store, name, version.map_err(wrong)?))
        };
        let route = match (method.as_str(), segments.as_slice()) {
            ("GET", ["health"]) => Route::Health,
            ("GET", ["metrics"]) => Route::Metrics,
            ("GET", ["openapi.json"]) => Route::OpenApi,
            ("GET", ["0.1.0", "ping"]) => Route::Ping,
            ("POST", ["0.1.0", "feature_store"]) => Route::FeatureStore,
            ("POST", ["0.1.0", "batch_feature_store"]) => Route::BatchFeatureStore,
            ("POST", ["0.1.0", "batch"]) => Route::PrimaryKeyBatch,
            ("POST", ["0.1.0", database, table, "pk-read"]) => {
                Route::PrimaryKeyRead { database: (*database).to_owned(), table: (*table).to_owned() }
            }
            ("POST", ["get-online-features"]) => Route::OnlineFeatures,
            ("POST", ["push"]) => Route::Push,
            ("POST", ["write-to-online-store"]) => Route::WriteToOnlineStore,
            ("GET", ["feature_groups"]) => Route::Groups,
            ("POST", ["feature_groups"]) => Route::CreateGroup,
            ("DELETE", ["feature_groups", store, name, version]) => {
                Route::DropGroup(versioned(store, name, version)?)
            }
            ("POST", ["feature_groups", store, name, version, "rows"]) => {
                Route::Rows(versioned(store, name, version)?)
            }
            ("POST", ["feature_groups", store, name, version, "features"]) => {
                Route::AddFeatures(versioned(store, name, version)?)
            }
            ("POST", ["feature_groups", store, name, version, "delete"]) => {
                Route::DeleteRows(versioned(store, name, version)?)
            }
            ("POST", ["feature_groups", store, name, version, "stream"]) => {
                Route::Stream(versioned(store, name, version)?)
            }
            ("GET", ["feature_views"]) => Route::Views,
            ("POST", ["feature_views"]) => Route::CreateView,
            ("DELETE", ["feature_views", store, name, version]) => {
                Route::DropView(versioned(store, name, version)?)
            }
            _ => {
                let message = format!("there is no {method} {path}; /openapi.json lists what there is");
                return Err(FeatureError::new(Reason::NotFound, message));
            }
        };
        Ok(route)
    }

    /// The endpoint's name in metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Route::Health => "/health",
            Route::Metrics => "/metrics",
            Route::OpenApi => "/openapi.json",
            Route::Ping => "/0.1.0/ping",
            Route::FeatureStore => "/0.1.0/feature_store",
            Route::BatchFeatureStore => "/0.1.0/batch_feature_store",
            Route::PrimaryKeyRead { .. } => "/0.1.0/pk-read",
            Route::PrimaryKeyBatch => "/0.1.0/batch",
            Route::OnlineFeatures => "/get-online-features",
            Route::Push => "/push",
            Route::WriteToOnlineStore => "/write-to-online-store",
            Route::Groups | Route::CreateGroup | Route::AddFeatures(_) | Route::DropGroup(_) => {
                "/feature_groups"
            }
            Route::Rows(_) => "/feature_groups/rows",
            Route::DeleteRows(_) => "/feature_groups/delete",
            Route::Stream(_) => "/feature_groups/stream",
            Route::Views | Route::CreateView | Route::DropView(_) => "/feature_views",
        }
    }

    /// Whether it needs no API key and is answered whatever the load.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Route::Health | Route::Metrics | Route::OpenApi)
    }
}
