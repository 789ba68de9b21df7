//! Prepared views, kept for a moment: definitions may be dropped, and tables altered.

use crate::{FeatureStore, PreparedView, Result, Versioned, ViewDefinition, ViewFeature, ViewSource};
use rustc_hash::FxHashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a prepared view is used without asking whether it is still as it was.
const FRESH: Duration = Duration::from_secs(1);
/// Most prepared views kept; then all are forgotten.
const MOST_VIEWS: usize = 1_024;

/// Prepared views by what was asked for.
#[derive(Debug, Default)]
pub(crate) struct Views {
    views: Mutex<FxHashMap<String, (PreparedView, Instant)>>,
}

impl Views {
    fn lock(&self) -> MutexGuard<'_, FxHashMap<String, (PreparedView, Instant)>> {
        // Nothing panics while it is held; and whole entries are all there is.
        self.views.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self, key: &str) -> Option<(PreparedView, bool)> {
        let views = self.lock();
        views.get(key).map(|(view, at)| (view.clone(), at.elapsed() < FRESH))
    }

    fn keep(&self, key: String, view: &PreparedView) {
        let mut views = self.lock();
        if views.len() >= MOST_VIEWS {
            views.clear();
        }
        views.insert(key, (view.clone(), Instant::now()));
    }

    /// A view by name and version.
    pub(crate) async fn view(&self, store: &FeatureStore, name: &Versioned) -> Result<PreparedView> {
        let key = format!("view {name}");
        if let Some((view, true)) = self.known(&key) {
            return Ok(view);
        }
        let view = store.prepare(name).await?;
        self.keep(key, &view);
        Ok(view)
    }

    /// The newest version of a view.
    pub(crate) async fn newest(
        &self,
        store: &FeatureStore,
        project: &str,
        name: &str,
    ) -> Result<PreparedView> {
        let key = format!("newest {project} {name}");
        if let Some((view, true)) = self.known(&key) {
            return Ok(view);
        }
        let view = store.prepare(&store.newest_view(project, name).await?).await?;
        self.keep(key, &view);
        Ok(view)
    }

    /// Features listed as `group:feature`, of the newest versions of their groups; with `full` names `group__feature`.
    pub(crate) async fn listed(
        &self,
        store: &FeatureStore,
        project: &str,
        features: &[(String, String)],
        full: bool,
    ) -> Result<PreparedView> {
        let mut key = format!("listed {project} {full}");
        for (group, feature) in features {
            key.push(' ');
            key.push_str(group);
            key.push(':');
            key.push_str(feature);
        }
        if let Some((view, true)) = self.known(&key) {
            return Ok(view);
        }
        let mut definition = ViewDefinition {
            store: project.to_owned(),
            name: "listed".to_owned(),
            version: 1,
            sources: Vec::new(),
            features: Vec::new(),
        };
        for (group, feature) in features {
            let known = definition.sources.iter().position(|source| source.group == *group);
            let source = match known {
                Some(source) => source,
                None => {
                    let newest = store.newest_group(project, group).await?;
                    let mut source = ViewSource::new(group, newest.version);
                    if full {
                        source = source.prefixed(&format!("{group}__"));
                        for key in &store.group(&newest).await?.definition.primary_key {
                            source = source.keyed(key, key);
                        }
                    }
                    definition.sources.push(source);
                    definition.sources.len() - 1
                }
            };
            definition.features.push(ViewFeature::new(source, feature));
        }
        let view = store.prepare_features(definition).await?;
        self.keep(key, &view);
        Ok(view)
    }

    /// Forgets everything: definitions have changed.
    pub(crate) fn forget(&self) {
        self.lock().clear();
    }
}
