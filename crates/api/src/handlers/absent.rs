//! What is not built: it answers in form, so that clients see a sentence and not a broken pipe.

use api_types::texts;
use http::StatusCode;

use super::Handled;
use crate::call::Call;
use crate::failure::Failure;
use crate::reply;

/// A change that is not built. The body is taken, so that the client gets to the answer.
pub(crate) async fn not_built(mut call: Call, what: &str) -> Handled {
    call.drain().await;
    Err(Failure::not_built(what))
}

/// An operation upon a container that is not built: first, is there such a container?
pub(crate) async fn not_built_for_container(mut call: Call, what: &str) -> Handled {
    call.engine().inspect(call.name(), false).await?;
    call.drain().await;
    Err(Failure::not_built(what))
}

/// A list of things of which there are none.
pub(crate) async fn none(_: Call) -> Handled {
    reply::json(StatusCode::OK, &[(); 0])
}

/// A plugin: there are none.
pub(crate) async fn no_plugin(call: Call) -> Handled {
    Err(Failure::not_found(format!(
        "plugin \"{}\" not found",
        call.name()
    )))
}

/// Everything that needs a swarm.
pub(crate) async fn no_swarm(mut call: Call) -> Handled {
    call.drain().await;
    Err(Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        texts::NOT_A_SWARM_MANAGER,
    ))
}

/// Leaving a swarm.
pub(crate) async fn not_in_swarm(_: Call) -> Handled {
    Err(Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "This node is not part of a swarm",
    ))
}
