//! The table of routes.

use crate::handlers::{absent, archive, containers, exec, images, networks, system, volumes};
use crate::route::{Handler, Route, Verb};

/// Makes a function into a handler.
macro_rules! to {
    ($handler:path) => {
        |call| Box::pin($handler(call))
    };
}

/// A handler that refuses, by name, what is not built.
macro_rules! refuse {
    ($what:literal) => {
        |call| Box::pin(absent::not_built(call, $what))
    };
    (container, $what:literal) => {
        |call| Box::pin(absent::not_built_for_container(call, $what))
    };
    (image, $what:literal) => {
        |call| Box::pin(images::not_built(call, $what))
    };
}

const fn get(pattern: &'static str, handler: Handler) -> Route {
    Route::new(Verb::Get, pattern, handler)
}

const fn head(pattern: &'static str, handler: Handler) -> Route {
    Route::new(Verb::Head, pattern, handler)
}

const fn post(pattern: &'static str, handler: Handler) -> Route {
    Route::new(Verb::Post, pattern, handler)
}

const fn put(pattern: &'static str, handler: Handler) -> Route {
    Route::new(Verb::Put, pattern, handler)
}

const fn delete(pattern: &'static str, handler: Handler) -> Route {
    Route::new(Verb::Delete, pattern, handler)
}

/// Every route. The first that matches answers.
pub(crate) static ROUTES: &[Route] = &[
    head("/_ping", to!(system::ping_head)),
    get("/_ping", to!(system::ping)),
    get("/version", to!(system::version)),
    get("/info", to!(system::info)),
    get("/events", to!(system::events)),
    get("/system/df", to!(system::df)),
    post("/auth", to!(system::auth)),
    // Containers
    get("/containers/json", to!(containers::list)),
    post("/containers/create", to!(containers::create)),
    post("/containers/prune", to!(containers::prune)),
    get("/containers/{id...}/json", to!(containers::inspect)),
    get("/containers/{id...}/top", to!(containers::top)),
    get("/containers/{id...}/changes", to!(archive::changes)),
    get("/containers/{id...}/export", to!(archive::export)),
    get("/containers/{id...}/stats", to!(containers::stats)),
    get(
        "/containers/{id...}/checkpoints",
        refuse!(container, "listing checkpoints (docker checkpoint)"),
    ),
    head("/containers/{id...}/archive", to!(archive::stat)),
    get("/containers/{id...}/archive", to!(archive::get)),
    put("/containers/{id...}/archive", to!(archive::put)),
    post("/containers/{id...}/update", to!(containers::update)),
    get(
        "/containers/{id...}/attach/ws",
        refuse!(container, "attaching over a web socket"),
    ),
    get("/containers/{id...}/logs", to!(containers::logs)),
    post("/containers/{id...}/resize", to!(containers::resize)),
    post("/containers/{id...}/start", to!(containers::start)),
    post("/containers/{id...}/stop", to!(containers::stop)),
    post("/containers/{id...}/restart", to!(containers::restart)),
    post("/containers/{id...}/kill", to!(containers::kill)),
    post("/containers/{id...}/rename", to!(containers::rename)),
    post("/containers/{id...}/pause", to!(containers::pause)),
    post("/containers/{id...}/unpause", to!(containers::unpause)),
    post("/containers/{id...}/attach", to!(containers::attach)).hijacking(),
    post("/containers/{id...}/wait", to!(containers::wait)),
    post("/containers/{id...}/exec", to!(exec::create)),
    delete("/containers/{id...}", to!(containers::remove)),
    // Commands in containers
    post("/exec/{id}/start", to!(exec::start)).hijacking(),
    post("/exec/{id}/resize", to!(exec::resize)),
    get("/exec/{id}/json", to!(exec::inspect)),
    // Images
    get("/images/json", to!(images::list)),
    get("/images/get", to!(images::save)),
    get("/images/search", to!(images::search)),
    post("/images/create", to!(images::pull)),
    post("/images/load", to!(images::load)),
    post("/images/prune", to!(images::prune)),
    get("/images/{name...}/json", to!(images::inspect)),
    get("/images/{name...}/history", to!(images::history)),
    get("/images/{name...}/get", to!(images::save_one)),
    get(
        "/images/{name...}/attestations",
        refuse!(image, "listing an image's attestations"),
    )
    .since(55),
    post("/images/{name...}/push", to!(images::push)),
    post("/images/{name...}/tag", to!(images::tag)),
    delete("/images/{name...}", to!(images::remove)),
    get("/distribution/{name...}/json", to!(images::distribution)).since(30),
    post("/commit", to!(images::commit)),
    // The builder
    post("/build", refuse!("building images (docker build)")),
    post("/build/prune", to!(system::build_prune)).since(31),
    post("/build/cancel", refuse!("building images (docker build)")).since(39),
    post(
        "/session",
        refuse!("building images with BuildKit (docker buildx)"),
    )
    .since(31),
    post(
        "/grpc",
        refuse!("building images with BuildKit (docker buildx)"),
    )
    .since(39),
    // Volumes
    get("/volumes", to!(volumes::list)),
    post("/volumes/create", to!(volumes::create)),
    post("/volumes/prune", to!(volumes::prune)),
    get("/volumes/{name...}", to!(volumes::inspect)),
    put("/volumes/{name...}", to!(absent::no_swarm)).since(42),
    delete("/volumes/{name...}", to!(volumes::remove)),
    // Networks
    get("/networks", to!(networks::list)),
    get("/networks/", to!(networks::list)),
    post("/networks/create", to!(networks::create)),
    post("/networks/prune", to!(networks::prune)),
    post("/networks/{id}/connect", to!(networks::connect)),
    post("/networks/{id}/disconnect", to!(networks::disconnect)),
    get("/networks/{id}", to!(networks::inspect)),
    delete("/networks/{id}", to!(networks::remove)),
    // Plugins: there are none
    get("/plugins", to!(absent::none)),
    get(
        "/plugins/privileges",
        refuse!("installing plugins (docker plugin)"),
    ),
    post(
        "/plugins/pull",
        refuse!("installing plugins (docker plugin)"),
    ),
    post(
        "/plugins/create",
        refuse!("installing plugins (docker plugin)"),
    ),
    get("/plugins/{name...}/json", to!(absent::no_plugin)),
    post("/plugins/{name...}/enable", to!(absent::no_plugin)),
    post("/plugins/{name...}/disable", to!(absent::no_plugin)),
    post("/plugins/{name...}/push", to!(absent::no_plugin)),
    post("/plugins/{name...}/set", to!(absent::no_plugin)),
    post("/plugins/{name...}/upgrade", to!(absent::no_plugin)),
    delete("/plugins/{name...}", to!(absent::no_plugin)),
    // Swarm: there is none
    post("/swarm/init", refuse!("making a swarm (docker swarm)")),
    post("/swarm/join", refuse!("making a swarm (docker swarm)")),
    post("/swarm/leave", to!(absent::not_in_swarm)),
    get("/swarm", to!(absent::no_swarm)),
    get("/swarm/unlockkey", to!(absent::no_swarm)),
    post("/swarm/update", to!(absent::no_swarm)),
    post("/swarm/unlock", to!(absent::no_swarm)),
    get("/services", to!(absent::no_swarm)),
    get("/services/{id...}", to!(absent::no_swarm)),
    post("/services/{id...}", to!(absent::no_swarm)),
    delete("/services/{id...}", to!(absent::no_swarm)),
    get("/tasks", to!(absent::no_swarm)),
    get("/tasks/{id...}", to!(absent::no_swarm)),
    get("/nodes", to!(absent::no_swarm)),
    get("/nodes/{id...}", to!(absent::no_swarm)),
    post("/nodes/{id...}", to!(absent::no_swarm)),
    delete("/nodes/{id...}", to!(absent::no_swarm)),
    get("/secrets", to!(absent::no_swarm)).since(25),
    get("/secrets/{id...}", to!(absent::no_swarm)).since(25),
    post("/secrets/{id...}", to!(absent::no_swarm)).since(25),
    delete("/secrets/{id...}", to!(absent::no_swarm)).since(25),
    get("/configs", to!(absent::no_swarm)).since(30),
    get("/configs/{id...}", to!(absent::no_swarm)).since(30),
    post("/configs/{id...}", to!(absent::no_swarm)).since(30),
    delete("/configs/{id...}", to!(absent::no_swarm)).since(30),
];

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::route::find;

    /// Derived from the published description of the API.
    const DESCRIPTION: &str = include_str!("../../api-types/tests/description-1.55.tsv");

    #[test]
    fn every_path_of_the_description_has_a_route() {
        let paths: Vec<_> = DESCRIPTION
            .lines()
            .filter_map(|line| line.strip_suffix("\tpath"))
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .collect();
        assert!(paths.len() > 100, "only {} paths", paths.len());
        for fields in paths {
            let method = Method::from_bytes(fields[0].as_bytes()).unwrap();
            let path = fields[1].replace(['{', '}'], "");
            assert!(find(ROUTES, &method, &path).is_some(), "{method} {path}");
        }
    }

    #[test]
    fn no_route_hides_behind_another() {
        for route in ROUTES {
            let path = route.pattern.replace(['{', '}', '.'], "");
            let method =
                Method::from_bytes(format!("{:?}", route.verb).to_uppercase().as_bytes()).unwrap();
            let (found, _) = find(ROUTES, &method, &path).unwrap();
            assert_eq!(found.pattern, route.pattern, "{method}");
        }
    }
}
