//! Networks: the built-in ones. Making others is not built yet.

use api_types::{NetworkCreate, NetworksPruneReport};
use http::StatusCode;
use serde::Deserialize;

use super::Handled;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply;
use crate::shape::{self, Kind};
use crate::version::Version;

/// `GET /networks`: before 1.28 with the containers of each.
pub(crate) async fn list(call: Call) -> Handled {
    let mut networks = call.engine().network_list(call.filters()?).await?;
    for network in &mut networks {
        network.containers = match call.version < Version(28) {
            true => call.engine().network_inspect(&network.id).await?.containers,
            false => None,
        };
    }
    shape::json(StatusCode::OK, Kind::NetworkList, call.version, &networks)
}

/// `GET /networks/{id}`
pub(crate) async fn inspect(call: Call) -> Handled {
    let mut network = call.engine().network_inspect(call.name()).await?;
    network.containers.get_or_insert_default();
    shape::json(StatusCode::OK, Kind::Network, call.version, &network)
}

/// `POST /networks/create`
pub(crate) async fn create(mut call: Call) -> Handled {
    let request: NetworkCreate = call.json().await?;
    if request.name.is_empty() {
        return Err(Failure::bad_request("invalid name: name is empty"));
    }
    let driver = Some(request.driver)
        .filter(|driver| !driver.is_empty())
        .unwrap_or_else(|| "bridge".to_owned());
    if call.engine().network_inspect(&request.name).await.is_ok() {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            format!(
                "operation is not permitted on predefined {} network ",
                request.name
            ),
        ));
    }
    Err(Failure::not_built(&format!(
        "making networks (docker network create, driver {driver})"
    )))
}

/// `DELETE /networks/{id}`: those that there are can not be removed.
pub(crate) async fn remove(call: Call) -> Handled {
    let network = call.engine().network_inspect(call.name()).await?;
    Err(Failure::new(
        StatusCode::FORBIDDEN,
        format!(
            "{} is a pre-defined network and cannot be removed",
            network.name
        ),
    ))
}

/// The container of a connection.
#[derive(Deserialize)]
struct Connection {
    #[serde(rename = "Container", default)]
    container: String,
}

/// `POST /networks/{id}/connect` and `POST /networks/{id}/disconnect`
pub(crate) async fn connect(mut call: Call) -> Handled {
    let request: Connection = call.json().await?;
    call.engine().inspect(&request.container, false).await?;
    call.engine().network_inspect(call.name()).await?;
    Err(Failure::not_built(
        "connecting containers to networks after they were made (docker network connect)",
    ))
}

/// `POST /networks/prune`: there is nothing to prune.
pub(crate) async fn prune(call: Call) -> Handled {
    let filters = call.filters()?;
    filters.check(&["label", "label!", "until"])?;
    filters.until()?;
    reply::json(StatusCode::OK, &NetworksPruneReport::default())
}
