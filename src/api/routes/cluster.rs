//! The nodes of a cluster and what each of them writes, for the administrator.

use actix_web::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::answer::{self, Answer};
use crate::call::Call;

/// The cluster as the node that was asked sees it.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct ClusterBody {
    /// The address of the node that answers; `null` where there is only one.
    node: Option<String>,
    /// Every partition of the log.
    partitions: Vec<PartitionBody>,
}

/// One partition.
#[derive(Serialize, Deserialize, ToSchema)]
pub(crate) struct PartitionBody {
    /// Its number.
    partition: u32,
    /// The address of the node that writes it; `null` when nobody is known to.
    owner: Option<String>,
    /// The next offset that reads on this node don't show yet.
    applied: u64,
    /// The end of the log as far as this node has read.
    end: u64,
}

/// Says which node writes which partition.
#[utoipa::path(
    get, path = "/v1/admin/cluster", operation_id = "cluster", tag = "server",
    responses((status = 200, description = "The cluster.", body = ClusterBody)),
)]
pub(crate) async fn get(call: Call) -> Answer {
    call.admin()?;
    call.query(&[])?;
    let engine = &call.app.engine;
    let partitions = engine.partitions().await.into_iter().map(|one| PartitionBody {
        partition: one.partition,
        owner: one.owner,
        applied: one.applied,
        end: one.end,
    });
    let body =
        ClusterBody { node: engine.node().map(str::to_owned), partitions: partitions.collect() };
    answer::json(StatusCode::OK, &body)
}
