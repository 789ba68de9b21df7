//! The feature server: HTTP and JSON as users of Hopsworks and of Feast know them.

mod answer;
mod arrow_stream;
mod cache;
mod feast;
mod feast_columns;
mod hopsworks;
mod keys;
mod manage;
mod metrics;
mod openapi;
mod primary_key;
mod route;
mod rows;
mod stream;

pub use keys::{create_key, revoke_key};

use crate::{FeatureError, FeatureStore, Reason};
use answer::Answer;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::serve::ListenerExt as _;
use cache::Views;
use keys::Keys;
use metrics::Metrics;
use route::Route;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Longest time that the body of a request may take to arrive; streams may take longer as long as something comes.
const BODY_PATIENCE: Duration = Duration::from_secs(30);
/// Time that requests under way have once the server is told to end.
const LAST_REQUESTS: Duration = Duration::from_secs(10);
/// Tells how many rows of a batch failed.
const FAILURES: HeaderName = HeaderName::from_static("x-duet-failures");

/// Settings of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Most bytes of a request.
    pub body_bytes: usize,
    /// Most entities, operations or rows of a request.
    pub entities: usize,
    /// Most requests at once; more are answered with 503.
    pub concurrency: usize,
    /// Whether requests need an API key.
    pub api_keys: bool,
    /// Answers as Feast's own server does: a stored null is PRESENT, the time to live is ignored.
    pub feast_compatible: bool,
    /// Feature store of requests in Feast's form, which name none.
    pub project: String,
}

impl Default for ServerOptions {
    fn default() -> ServerOptions {
        ServerOptions {
            body_bytes: 8 << 20,
            entities: 10_000,
            concurrency: 1_024,
            api_keys: false,
            feast_compatible: false,
            project: "default".to_owned(),
        }
    }
}

/// What all requests share.
pub(crate) struct App {
    pub(crate) store: FeatureStore,
    pub(crate) options: ServerOptions,
    pub(crate) views: Views,
    pub(crate) keys: Keys,
    pub(crate) metrics: Metrics,
    requests: Semaphore,
}

/// Serves on these listeners until `end` completes; then the requests under way are finished.
///
/// # Errors
/// A listener fails.
pub async fn serve(
    store: FeatureStore,
    options: ServerOptions,
    listeners: Vec<TcpListener>,
    end: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let app = Arc::new(App {
        views: Views::default(),
        keys: Keys::default(),
        metrics: Metrics::default(),
        requests: Semaphore::new(options.concurrency),
        store,
        options,
    });
    let (sender, receiver) = tokio::sync::watch::channel(false);
    tokio::spawn(async move {
        end.await;
        let _ = sender.send(true);
    });
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        // The last piece of a large answer must not wait for the receiver to acknowledge those before.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let router = axum::Router::new().fallback(dispatch).with_state(Arc::clone(&app));
        let mut receiver = receiver.clone();
        let ended = async move {
            // The sender goes only after it has told.
            let _ = receiver.wait_for(|ended| *ended).await;
        };
        servers.spawn(async move { axum::serve(listener, router).with_graceful_shutdown(ended).await });
    }
    let mut told = receiver;
    loop {
        tokio::select! {
            server = servers.join_next() => match server {
                Some(server) => server.map_err(std::io::Error::other)??,
                None => return Ok(()),
            },
            // A stream may go on for as long as its sender wishes.
            () = late(&mut told) => return Ok(()),
        }
    }
}

/// Completes a while after the server was told to end.
async fn late(told: &mut tokio::sync::watch::Receiver<bool>) {
    // The sender goes only after it has told.
    let _ = told.wait_for(|ended| *ended).await;
    tokio::time::sleep(LAST_REQUESTS).await;
}

async fn dispatch(State(app): State<Arc<App>>, request: Request) -> Response {
    let start = Instant::now();
    let (parts, body) = request.into_parts();
    let route = Route::of(&parts.method, parts.uri.path());
    let name = route.as_ref().map_or("unknown", Route::name);
    let answer = match route {
        Ok(route) => answer(&app, route, &parts.headers, body).await,
        Err(error) => Err(error),
    };
    let answer = answer.unwrap_or_else(|error| Answer::of_error(&error));
    app.metrics.request(name, answer.status, start.elapsed());
    respond(answer)
}

async fn answer(app: &Arc<App>, route: Route, headers: &HeaderMap, body: Body) -> crate::Result<Answer> {
    if route.is_open() {
        return Ok(match route {
            Route::Health => Answer::empty(),
            Route::Metrics => Answer::text(app.metrics.text()),
            _ => Answer::json(openapi::description()),
        });
    }
    let Ok(_permit) = app.requests.try_acquire() else {
        let message = format!("{} requests are under way", app.options.concurrency);
        return Err(FeatureError { retryable: true, ..FeatureError::new(Reason::Busy, message) });
    };
    if app.options.api_keys {
        let key = headers.get("x-api-key").map(HeaderValue::as_bytes);
        app.keys.check(&app.store, key).await?;
    }
    if let Route::Stream(group) = route {
        let content = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        return match content.starts_with(arrow_stream::CONTENT_TYPE) {
            true => arrow_stream::stream(app, &group, body).await,
            false => stream::stream(app, &group, body).await,
        };
    }
    let read = axum::body::to_bytes(body, app.options.body_bytes);
    let bytes = match tokio::time::timeout(BODY_PATIENCE, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(error)) => {
            let message = format!("at most {} bytes are taken ({error})", app.options.body_bytes);
            return Err(FeatureError::new(Reason::TooLarge, message));
        }
        Err(_) => return Err(FeatureError::new(Reason::InvalidRequest, "the body did not arrive in time")),
    };
    match route {
        Route::Ping => Ok(Answer::empty()),
        Route::FeatureStore => hopsworks::single(app, &bytes).await,
        Route::BatchFeatureStore => hopsworks::batch(app, &bytes).await,
        Route::PrimaryKeyRead { database, table } => {
            primary_key::single(app, &database, &table, &bytes).await
        }
        Route::PrimaryKeyBatch => primary_key::batch(app, &bytes).await,
        Route::OnlineFeatures => feast::online_features(app, &bytes).await,
        Route::Push => feast::push(app, &bytes).await,
        Route::WriteToOnlineStore => feast::write_to_online_store(app, &bytes).await,
        Route::Groups => manage::groups(app).await,
        Route::CreateGroup => manage::create_group(app, &bytes).await,
        Route::DropGroup(group) => manage::drop_group(app, &group).await,
        Route::Views => manage::views(app).await,
        Route::CreateView => manage::create_view(app, &bytes).await,
        Route::DropView(view) => manage::drop_view(app, &view).await,
        Route::AddFeatures(group) => manage::add_features(app, &group, &bytes).await,
        Route::Rows(group) => manage::upsert(app, &group, &bytes).await,
        Route::DeleteRows(group) => manage::delete(app, &group, &bytes).await,
        Route::Health | Route::Metrics | Route::OpenApi | Route::Stream(_) => {
            Err(FeatureError::new(Reason::NotFound, "answered before"))
        }
    }
}

fn respond(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if let Some(failures) = answer.failures {
        headers.insert(FAILURES, HeaderValue::from(failures as u64));
    }
    response
}

/// A request's JSON.
pub(crate) fn parse<'b, T: serde::Deserialize<'b>>(bytes: &'b [u8]) -> crate::Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| FeatureError::new(Reason::InvalidRequest, error.to_string()))
}
