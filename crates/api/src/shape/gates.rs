//! The table of differences between versions.

use serde_json::{Map, Value, json};

use super::Kind;
use crate::version::Version;

type Object = Map<String, Value>;

/// One difference.
pub(crate) struct Gate {
    /// In which body.
    pub(crate) kind: Kind,
    /// In which objects of it: names separated by dots, `*` for every member.
    pub(crate) at: &'static str,
    /// Which member.
    pub(crate) field: &'static str,
    /// When, and how it differs.
    pub(crate) change: Change,
}

/// How a member differs between versions. Numbers are minor versions.
pub(crate) enum Change {
    /// This version brought it: removed for older ones.
    Since(u16),
    /// This version lost it: removed from here on, although our types have it.
    OnlyBefore(u16),
    /// This version is the last one that has it: added for it and older ones, if absent.
    Until(u16, Fill),
    /// Up to this version it, or its surroundings, looked otherwise.
    Was(u16, fn(&mut Object)),
}

/// The value of a member that newer versions do not have.
pub(crate) enum Fill {
    Null,
    False,
    Zero,
    Text(&'static str),
    EmptyMap,
    EmptyList,
    /// That of a neighbour.
    Copy(&'static str),
    /// Made out of its surroundings.
    Made(fn(&Object) -> Value),
}

impl Gate {
    /// Whether this row has to be carried out for a version.
    pub(crate) fn concerns(&self, version: Version) -> bool {
        match self.change {
            Change::Since(first) => version.0 < first,
            Change::OnlyBefore(first) => version.0 >= first,
            Change::Until(last, _) | Change::Was(last, _) => version.0 <= last,
        }
    }
}

const fn gate(kind: Kind, at: &'static str, field: &'static str, change: Change) -> Gate {
    Gate {
        kind,
        at,
        field,
        change,
    }
}

use Change::{OnlyBefore, Since, Until, Was};
use Fill::{Copy, EmptyList, EmptyMap, False, Made, Null, Text, Zero};
use Kind::{Container, ContainerList, Event, Image, ImageList, Info, Network, NetworkList, Wait};

/// The time that Go writes for "never".
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Every difference. Only members that came after 1.41 are taken away from older versions: dockerd itself never took
/// away the others.
pub(crate) static GATES: &[Gate] = &[
    // One container
    gate(Container, "", "ImageManifestDescriptor", Since(48)),
    gate(
        Container,
        "NetworkSettings.Networks.*",
        "DNSNames",
        Since(44),
    ),
    gate(
        Container,
        "NetworkSettings.Networks.*",
        "GwPriority",
        Since(48),
    ),
    gate(Container, "", "", Was(44, old_aliases)),
    gate(
        Container,
        "NetworkSettings",
        "",
        Was(51, old_network_settings),
    ),
    gate(Container, "Config", "MacAddress", OnlyBefore(52)),
    gate(Container, "Config", "OnBuild", Until(51, Null)),
    gate(Container, "Config.Healthcheck", "StartInterval", Since(44)),
    gate(Container, "HostConfig", "Annotations", Since(43)),
    gate(Container, "HostConfig", "KernelMemory", OnlyBefore(42)),
    gate(Container, "HostConfig", "KernelMemory", Until(41, Zero)),
    gate(Container, "HostConfig", "KernelMemoryTCP", OnlyBefore(52)),
    gate(Container, "HostConfig", "KernelMemoryTCP", Until(41, Zero)),
    // A list of containers
    gate(ContainerList, "*", "ImageManifestDescriptor", Since(48)),
    gate(ContainerList, "*", "Health", Since(52)),
    gate(ContainerList, "*.HostConfig", "Annotations", Since(46)),
    gate(
        ContainerList,
        "*.NetworkSettings.Networks.*",
        "DNSNames",
        Since(44),
    ),
    gate(
        ContainerList,
        "*.NetworkSettings.Networks.*",
        "GwPriority",
        Since(48),
    ),
    // The end of a wait
    gate(Wait, "", "Error", Until(41, Null)),
    // One image
    gate(Image, "", "Descriptor", Since(48)),
    gate(Image, "", "Parent", Until(51, Text(""))),
    gate(Image, "", "Comment", Until(51, Text(""))),
    gate(Image, "", "DockerVersion", Until(51, Text(""))),
    gate(Image, "", "Author", Until(51, Text(""))),
    gate(Image, "", "Created", Until(43, Text(NEVER))),
    gate(Image, "", "Container", Until(44, Text(""))),
    gate(Image, "", "ContainerConfig", Until(44, Made(empty_config))),
    gate(Image, "", "VirtualSize", Until(43, Copy("Size"))),
    gate(Image, "Config", "Hostname", Until(49, Text(""))),
    gate(Image, "Config", "Domainname", Until(49, Text(""))),
    gate(Image, "Config", "User", Until(51, Text(""))),
    gate(Image, "Config", "AttachStdin", Until(49, False)),
    gate(Image, "Config", "AttachStdout", Until(49, False)),
    gate(Image, "Config", "AttachStderr", Until(49, False)),
    gate(Image, "Config", "Tty", Until(49, False)),
    gate(Image, "Config", "OpenStdin", Until(49, False)),
    gate(Image, "Config", "StdinOnce", Until(49, False)),
    gate(Image, "Config", "Env", Until(51, Null)),
    gate(Image, "Config", "Cmd", Until(51, Null)),
    gate(Image, "Config", "Image", Until(49, Text(""))),
    gate(Image, "Config", "Volumes", Until(51, Null)),
    gate(Image, "Config", "WorkingDir", Until(51, Text(""))),
    gate(Image, "Config", "Entrypoint", Until(51, Null)),
    gate(Image, "Config", "OnBuild", Until(51, Null)),
    gate(Image, "Config", "Labels", Until(51, Null)),
    gate(Image, "Config.Healthcheck", "StartInterval", Since(44)),
    // A list of images
    gate(ImageList, "*", "Descriptor", Since(48)),
    gate(ImageList, "*", "VirtualSize", Until(43, Copy("Size"))),
    gate(ImageList, "*", "Containers", Was(50, uncounted)),
    gate(ImageList, "*", "RepoTags", Was(42, nameless)),
    // Networks
    gate(NetworkList, "*", "EnableIPv4", Since(48)),
    gate(NetworkList, "*", "Containers", Until(51, EmptyMap)),
    gate(NetworkList, "*", "", Was(51, options_last)),
    gate(Network, "", "EnableIPv4", Since(48)),
    gate(Network, "", "", Was(51, options_last)),
    // Engine and host
    gate(Info, "", "CDISpecDirs", Since(44)),
    gate(Info, "", "Containerd", Since(46)),
    gate(Info, "", "FirewallBackend", Since(49)),
    gate(Info, "Runtimes.*", "status", Since(44)),
    gate(Info, "", "KernelMemory", Until(41, False)),
    gate(Info, "", "KernelMemoryTCP", Until(41, False)),
    gate(Info, "", "BridgeNfIptables", Until(49, False)),
    gate(Info, "", "BridgeNfIp6tables", Until(49, False)),
    gate(Info, "ContainerdCommit", "Expected", Until(48, Copy("ID"))),
    gate(Info, "RuncCommit", "Expected", Until(48, Copy("ID"))),
    gate(Info, "InitCommit", "Expected", Until(48, Copy("ID"))),
    gate(
        Info,
        "RegistryConfig",
        "AllowNondistributableArtifactsCIDRs",
        Until(48, EmptyList),
    ),
    gate(
        Info,
        "RegistryConfig",
        "AllowNondistributableArtifactsHostnames",
        Until(48, EmptyList),
    ),
    gate(
        Info,
        "",
        "ExecutionDriver",
        Until(24, Text("<not supported>")),
    ),
    gate(Info, "", "SecurityOptions", Was(24, bare_security_options)),
    // Events
    gate(Event, "", "", Was(51, old_event)),
];

/// The members of `NetworkSettings` that speak of the default bridge alone, among the others where they used to be.
fn old_network_settings(settings: &mut Object) {
    let mut newest = std::mem::take(settings);
    let bridge = newest
        .get("Networks")
        .and_then(|networks| networks.get("bridge"));
    let of_bridge = |name: &str, otherwise: Value| {
        bridge
            .and_then(|bridge| bridge.get(name))
            .cloned()
            .unwrap_or(otherwise)
    };
    let text = |name: &str| (name.to_owned(), of_bridge(name, json!("")));
    let number = |name: &str| (name.to_owned(), of_bridge(name, json!(0)));
    let after = [
        ("HairpinMode".to_owned(), json!(false)),
        ("LinkLocalIPv6Address".to_owned(), json!("")),
        ("LinkLocalIPv6PrefixLen".to_owned(), json!(0)),
        ("SecondaryIPAddresses".to_owned(), Value::Null),
        ("SecondaryIPv6Addresses".to_owned(), Value::Null),
        text("EndpointID"),
        text("Gateway"),
        text("GlobalIPv6Address"),
        number("GlobalIPv6PrefixLen"),
        text("IPAddress"),
        number("IPPrefixLen"),
        text("IPv6Gateway"),
        text("MacAddress"),
    ];
    let networks = newest.shift_remove("Networks").unwrap_or_default();
    settings.insert("Bridge".to_owned(), json!(""));
    settings.extend(newest);
    settings.extend(after);
    settings.insert("Networks".to_owned(), networks);
}

/// Aliases on networks of users, of which the beginning of the id and the host name were two from the first start on:
/// docker-compose looks for it, and connects a container anew, with its links, that has none yet.
fn old_aliases(container: &mut Object) {
    let started = container
        .get("State")
        .and_then(|state| state.get("StartedAt"));
    if started.and_then(Value::as_str) == Some(NEVER) {
        return;
    }
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("").to_owned();
    let id = text(container.get("Id"));
    let config = container.get("Config");
    let host_name = text(config.and_then(|config| config.get("Hostname")));
    let own = [id.get(..12).unwrap_or(&id).to_owned(), host_name];
    let Some(networks) = container
        .get_mut("NetworkSettings")
        .and_then(|settings| settings.get_mut("Networks")?.as_object_mut())
    else {
        return;
    };
    for (name, endpoint) in networks {
        if matches!(name.as_str(), "bridge" | "host" | "none") {
            continue;
        }
        let mut aliases = match endpoint.get("Aliases") {
            Some(Value::Array(aliases)) => aliases.clone(),
            _ => Vec::new(),
        };
        for name in own.iter().filter(|name| !name.is_empty()) {
            if !aliases.iter().any(|alias| alias == name) {
                aliases.push(json!(name));
            }
        }
        endpoint["Aliases"] = Value::Array(aliases);
    }
}

/// An event in the two forms that older clients know: its own members, and those of the first API.
fn old_event(event: &mut Object) {
    let kind = event
        .get("Type")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    if kind != "container" && kind != "image" {
        return;
    }
    let actor = event.get("Actor");
    let status = event.get("Action").cloned().unwrap_or_default();
    let id = actor
        .and_then(|actor| actor.get("ID"))
        .cloned()
        .unwrap_or_default();
    let from = actor
        .and_then(|actor| actor.get("Attributes")?.get("image"))
        .cloned();
    let newest = std::mem::take(event);
    event.insert("status".to_owned(), status);
    event.insert("id".to_owned(), id);
    if let Some(from) = from.filter(|_| kind == "container") {
        event.insert("from".to_owned(), from);
    }
    event.extend(newest);
}

/// People read these as they come: options and labels stood behind the containers.
fn options_last(network: &mut Object) {
    for name in ["Options", "Labels", "Peers", "Services"] {
        if let Some(value) = network.shift_remove(name) {
            network.insert(name.to_owned(), value);
        }
    }
}

/// Containers of an image were not counted.
fn uncounted(image: &mut Object) {
    image.insert("Containers".to_owned(), json!(-1));
}

/// An image without any name had names that say so.
fn nameless(image: &mut Object) {
    let none = |field: &str| {
        image
            .get(field)
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty)
    };
    if none("RepoTags") && none("RepoDigests") {
        image.insert("RepoTags".to_owned(), json!(["<none>:<none>"]));
        image.insert("RepoDigests".to_owned(), json!(["<none>@<none>"]));
    }
}

/// Security options were names alone.
fn bare_security_options(info: &mut Object) {
    let Some(Value::Array(options)) = info.get_mut("SecurityOptions") else {
        return;
    };
    for option in options {
        if let Some(name) = option.as_str().and_then(|text| text.strip_prefix("name=")) {
            *option = json!(name.split(',').next().unwrap_or(name));
        }
    }
}

/// The configuration of the container out of which an image was made: there was none.
fn empty_config(_: &Object) -> Value {
    let mut config = serde_json::to_value(api_types::Config::default()).unwrap_or_default();
    if let Value::Object(members) = &mut config {
        members.insert("OnBuild".to_owned(), Value::Null);
        members.insert("Labels".to_owned(), Value::Null);
    }
    config
}

#[cfg(test)]
mod tests {
    use super::super::reshape;
    use super::*;

    fn shaped(kind: Kind, minor: u16, mut body: Value) -> Value {
        reshape(kind, Version(minor), &mut body);
        body
    }

    #[test]
    fn older_clients_find_the_id_among_the_aliases() {
        let body = json!({"Id": "0123456789abcdef", "Config": {"Hostname": "box"}, "NetworkSettings":
            {"Networks": {"bridge": {"Aliases": null}, "mine": {"Aliases": ["db", "box"]}}}});
        let mut old = body.as_object().unwrap().clone();
        let mut created = old.clone();
        created.insert("State".to_owned(), json!({"StartedAt": NEVER}));
        old_aliases(&mut created);
        let networks = &created["NetworkSettings"]["Networks"];
        assert_eq!(networks["mine"]["Aliases"], json!(["db", "box"]));
        old_aliases(&mut old);
        let networks = &old["NetworkSettings"]["Networks"];
        assert_eq!(
            networks["mine"]["Aliases"],
            json!(["db", "box", "0123456789ab"])
        );
        assert_eq!(networks["bridge"]["Aliases"], Value::Null);
    }

    #[test]
    fn the_bridges_address_is_shown_twice_up_to_1_51() {
        let body = json!({"NetworkSettings": {"SandboxID": "s", "Ports": {}, "Networks": {
            "bridge": {"IPAddress": "172.17.0.2", "IPPrefixLen": 16, "GwPriority": 0, "DNSNames": null}}}});
        let old = shaped(Container, 43, body.clone());
        let settings = &old["NetworkSettings"];
        assert_eq!(settings["IPAddress"], "172.17.0.2");
        assert_eq!(settings["IPPrefixLen"], 16);
        assert_eq!(settings["Bridge"], "");
        assert_eq!(settings["SandboxID"], "s");
        assert_eq!(
            settings["Networks"]["bridge"],
            json!({"IPAddress": "172.17.0.2", "IPPrefixLen": 16})
        );
        assert_eq!(
            settings.as_object().unwrap().keys().next_back().unwrap(),
            "Networks"
        );
        assert_eq!(shaped(Container, 52, body.clone()), body);
    }

    #[test]
    fn events_have_their_first_form_up_to_1_51() {
        let body = json!({"Type": "container", "Action": "die", "Actor": {"ID": "c1", "Attributes": {"image": "a"}}});
        let old = shaped(Event, 51, body.clone());
        assert_eq!(
            (&old["status"], &old["id"], &old["from"]),
            (&json!("die"), &json!("c1"), &json!("a"))
        );
        assert_eq!(old["Action"], "die");
        assert_eq!(shaped(Event, 52, body.clone()), body);
        let volume =
            json!({"Type": "volume", "Action": "create", "Actor": {"ID": "v", "Attributes": {}}});
        assert_eq!(shaped(Event, 41, volume.clone()), volume);
    }

    #[test]
    fn images_without_a_name_say_so_up_to_1_42() {
        let body =
            json!([{"Id": "i", "Size": 7, "RepoTags": [], "RepoDigests": [], "Containers": 1}]);
        let old = shaped(ImageList, 42, body.clone());
        assert_eq!(old[0]["RepoTags"], json!(["<none>:<none>"]));
        assert_eq!(old[0]["RepoDigests"], json!(["<none>@<none>"]));
        let digest = json!([{"RepoTags": [], "RepoDigests": ["a@b"]}]);
        assert_eq!(shaped(ImageList, 42, digest)[0]["RepoTags"], json!([]));
        assert_eq!(old[0]["VirtualSize"], 7);
        assert_eq!(old[0]["Containers"], -1);
        assert_eq!(
            shaped(ImageList, 44, body.clone())[0].get("VirtualSize"),
            None
        );
        assert_eq!(shaped(ImageList, 51, body.clone()), body);
    }

    #[test]
    fn security_options_are_names_in_1_24() {
        let body = json!({"SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"]});
        assert_eq!(
            shaped(Info, 24, body.clone())["SecurityOptions"],
            json!(["seccomp", "cgroupns"])
        );
        assert_eq!(
            shaped(Info, 25, body.clone())["SecurityOptions"],
            body["SecurityOptions"]
        );
    }

    #[test]
    fn kernel_memory_is_there_up_to_1_41() {
        let body = json!({"HostConfig": {"KernelMemoryTCP": 5}});
        assert_eq!(
            shaped(Container, 41, body.clone())["HostConfig"],
            json!({"KernelMemoryTCP": 5, "KernelMemory": 0})
        );
        assert_eq!(
            shaped(Container, 42, body.clone())["HostConfig"],
            json!({"KernelMemoryTCP": 5})
        );
        assert_eq!(shaped(Container, 52, body)["HostConfig"], json!({}));
    }
}
