//! Networks.

use api_types::{NetworkConnect, NetworkCreate, NetworkCreated, NetworkDisconnect};
use http::StatusCode;

use super::Handled;
use crate::call::Call;
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
    let made = NetworkCreated {
        id: call.engine().network_create(request).await?,
        warning: String::new(),
    };
    reply::json(StatusCode::CREATED, &made)
}

/// `DELETE /networks/{id}`
pub(crate) async fn remove(call: Call) -> Handled {
    call.engine().network_remove(call.name()).await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /networks/{id}/connect`
pub(crate) async fn connect(mut call: Call) -> Handled {
    let request: NetworkConnect = call.json().await?;
    let mut settings = request.endpoint_config.unwrap_or_default();
    if call.version < Version(44) {
        settings.mac_address.clear();
    }
    if call.version < Version(48) {
        settings.gw_priority = 0;
    }
    call.engine()
        .network_connect(call.name(), &request.container, settings)
        .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/{id}/disconnect`
pub(crate) async fn disconnect(mut call: Call) -> Handled {
    let request: NetworkDisconnect = call.json().await?;
    call.engine()
        .network_disconnect(call.name(), &request.container)
        .await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/prune`
pub(crate) async fn prune(call: Call) -> Handled {
    let report = call.engine().prune_networks(call.filters()?).await?;
    reply::json(StatusCode::OK, &report)
}
