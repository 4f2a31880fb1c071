//! Volumes.

use api_types::{VolumeCreate, VolumeList, texts};
use http::StatusCode;

use super::Handled;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply;
use crate::version::Version;

/// `GET /volumes`
pub(crate) async fn list(call: Call) -> Handled {
    let volumes = call.engine().volume_list(call.filters()?).await?;
    reply::json(
        StatusCode::OK,
        &VolumeList {
            volumes,
            warnings: None,
        },
    )
}

/// `POST /volumes/create`
pub(crate) async fn create(mut call: Call) -> Handled {
    let mut request: VolumeCreate = call.optional_json().await?;
    if call.version < Version(42) {
        request.cluster_volume_spec = None;
    }
    if request.cluster_volume_spec.is_some() {
        return Err(Failure::new(
            StatusCode::SERVICE_UNAVAILABLE,
            texts::NOT_A_SWARM_MANAGER,
        ));
    }
    reply::json(
        StatusCode::CREATED,
        &call.engine().volume_create(request).await?,
    )
}

/// `GET /volumes/{name}`
pub(crate) async fn inspect(call: Call) -> Handled {
    reply::json(
        StatusCode::OK,
        &call.engine().volume_inspect(call.name()).await?,
    )
}

/// `DELETE /volumes/{name}`
pub(crate) async fn remove(call: Call) -> Handled {
    call.engine()
        .volume_remove(call.name(), call.query.flag("force"))
        .await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /volumes/prune`: before 1.42 named volumes too.
pub(crate) async fn prune(call: Call) -> Handled {
    let mut filters = call.filters()?;
    if call.version < Version(42) {
        filters.add("all", "true");
    }
    reply::json(StatusCode::OK, &call.engine().prune_volumes(filters).await?)
}
