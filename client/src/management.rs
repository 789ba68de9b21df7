//! Which management nodes belong to the cluster.

use crate::shared::JobRequest;
use crate::{Client, ManagementChange, Result};

impl Client {
    /// Changes which management nodes belong to the cluster. It returns when that is written in the cluster's state; the cluster
    /// carries it out as soon as the nodes are there, which [`Client::status`] shows.
    ///
    /// # Errors
    /// `InvalidConfiguration` when the change makes no sense; `UnknownNodeId`; no leading management node could be reached in
    /// time.
    pub async fn change_management(&self, change: ManagementChange) -> Result<()> {
        self.shared().job(JobRequest::ChangeManagement(change)).await.map(|_| ())
    }
}
