//! Sentences, or parts of them, that clients and tools match on. Changing one breaks somebody.

/// Oldest version of the API, as a client writes it.
pub const MIN_API_VERSION: &str = "1.24";

/// Newest version of the API.
pub const API_VERSION: &str = "1.50";

/// The newest version of the API that is spoken with who asks for it by name.
pub const NEWEST_API_VERSION: &str = "1.55";

/// Answer to a path that nothing serves.
pub const PAGE_NOT_FOUND: &str = "page not found";

/// Answer to everything that needs a swarm.
pub const NOT_A_SWARM_MANAGER: &str = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm \
     join\" to connect this node to swarm and try again.";

/// Beginning of every error about a container that is not there; clients test for the words.
pub const NO_SUCH_CONTAINER: &str = "No such container: ";

/// Beginning of every error about a command that is not there.
pub const NO_SUCH_EXEC: &str = "No such exec instance: ";

/// Beginning of every error about an image that is not there. Clients pull after it.
pub const NO_SUCH_IMAGE: &str = "No such image: ";

/// Part of the error from which clients derive the exit status 127.
pub const EXECUTABLE_NOT_FOUND: &str = "executable file not found";

/// Part of the error from which clients derive the exit status 127: the program's path leads nowhere.
pub const NO_SUCH_FILE: &str = "no such file or directory";

/// Part of the error from which clients derive the exit status 126.
pub const PERMISSION_DENIED: &str = "permission denied";

/// Part of the error from which newer clients derive the exit status 126: the program's path is a folder.
pub const IS_A_DIRECTORY: &str = "is a directory";

/// `No such container: NAME`.
pub fn no_such_container(name: &str) -> String {
    format!("{NO_SUCH_CONTAINER}{name}")
}

/// `No such image: NAME`, the name with its tag.
pub fn no_such_image(name: &str) -> String {
    format!("{NO_SUCH_IMAGE}{name}")
}

/// `No such exec instance: ID`.
pub fn no_such_exec(id: &str) -> String {
    format!("{NO_SUCH_EXEC}{id}")
}

/// `get NAME: no such volume`.
pub fn no_such_volume(name: &str) -> String {
    format!("get {name}: no such volume")
}

/// `network NAME not found`.
pub fn no_such_network(name: &str) -> String {
    format!("network {name} not found")
}

/// The name of a new container is taken. `name` has its leading slash.
pub fn name_in_use(name: &str, holder: &str) -> String {
    format!(
        "Conflict. The container name \"{name}\" is already in use by container \"{holder}\". You have to remove (or \
         rename) that container to be able to reuse that name."
    )
}

/// The container is not running. `id` is the full id.
pub fn not_running(id: &str) -> String {
    format!("container {id} is not running")
}

/// An exec needs a container that runs. `id` is the full id.
pub fn exec_not_running(id: &str) -> String {
    format!("container {id} is not running")
}

/// An exec needs a container that is not paused. `name` is as the client named it.
pub fn is_paused(name: &str) -> String {
    format!("Container {name} is paused, unpause the container before exec")
}

/// A running container is removed only by force. `name` is as the client named it.
pub fn remove_running(name: &str, state: &str) -> String {
    let advice = match state {
        "paused" => " and must be unpaused first",
        _ => ": stop the container before removing or force remove",
    };
    format!("cannot remove container \"{name}\": container is {state}{advice}")
}

/// A version of the API older than the oldest.
pub fn version_too_old(version: &str) -> String {
    format!(
        "client version {version} is too old. Minimum supported API version is {MIN_API_VERSION}, please upgrade \
         your client to a newer version"
    )
}

/// A version of the API newer than the newest.
pub fn version_too_new(version: &str) -> String {
    format!(
        "client version {version} is too new. Maximum supported API version is {NEWEST_API_VERSION}"
    )
}
