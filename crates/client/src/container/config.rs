//! From the flags of `run` and `create` to the body of a create request.

use std::collections::BTreeMap;

use api_types::{
    Config, ContainerCreate, DeviceRequest, Empty, HealthConfig, HostConfig, LogConfig,
    NetworkingConfig, PortMap, RestartPolicy, Ulimit, Words,
};

use super::environment::{self, pairs};
use super::security::Security;
use super::{disks, gpus, mounts, networks, ports, security, values};
use crate::duration::nanoseconds;
use crate::failure::Failure;
use crate::number;
use crate::parse::Parsed;

/// The body of `POST /containers/create` for an image and its command. `proxies` are added to the environment.
///
/// # Errors
/// The first flag whose value is not understood, in docker's words.
pub(crate) fn request(
    parsed: &Parsed,
    image: &str,
    command: &[String],
    proxies: &[(String, String)],
) -> Result<ContainerCreate, Failure> {
    let mut exposed = BTreeMap::new();
    let mut bindings = PortMap::new();
    for value in parsed.list("publish") {
        ports::publish(&value, &mut exposed, &mut bindings).map_err(Failure::Invalid)?;
    }
    for value in parsed.list("expose") {
        ports::expose(&value, &mut exposed).map_err(Failure::Invalid)?;
    }
    let (binds, anonymous) = volumes(parsed)?;
    let connections = networks::connections(parsed)?;
    let first = connections.first();
    let mode = first.map_or_else(String::new, |(name, _)| name.clone());
    let config = Config {
        exposed_ports: exposed,
        volumes: Some(anonymous),
        env: Some(environment::of_container(parsed, proxies)?),
        ..config(parsed, image, command)?
    };
    networks::check_modes(parsed)?;
    Ok(ContainerCreate {
        config,
        host_config: HostConfig {
            network_mode: mode,
            ..host_config(parsed, binds, bindings)?
        },
        networking_config: NetworkingConfig {
            endpoints_config: Some(networks::endpoints(connections)),
        },
        ..ContainerCreate::default()
    })
}

/// The streams of a container that a client is attached to.
pub(crate) struct Attachments {
    /// Standard input.
    pub(crate) stdin: bool,
    /// Standard output.
    pub(crate) stdout: bool,
    /// Standard error.
    pub(crate) stderr: bool,
}

impl Attachments {
    /// From `--attach`, `--interactive` and `--detach`.
    pub(crate) fn read(parsed: &Parsed) -> Self {
        let named = parsed.list("attach");
        let attached = !parsed.switch("detach");
        let is_named = |name: &str| named.iter().any(|stream| stream == name);
        Attachments {
            stdin: attached && (parsed.switch("interactive") || is_named("stdin")),
            stdout: attached && (named.is_empty() || is_named("stdout")),
            stderr: attached && (named.is_empty() || is_named("stderr")),
        }
    }

    /// Reads one `--attach` value.
    ///
    /// # Errors
    /// Docker's words.
    pub(crate) fn stream(text: &str) -> Result<String, String> {
        let name = text.to_ascii_lowercase();
        if ["stdin", "stdout", "stderr"].contains(&name.as_str()) {
            Ok(name)
        } else {
            Err("valid streams are STDIN, STDOUT and STDERR".to_owned())
        }
    }
}

fn config(parsed: &Parsed, image: &str, command: &[String]) -> Result<Config, Failure> {
    let attached = Attachments::read(parsed);
    let stdin = parsed.switch("interactive");
    Ok(Config {
        hostname: text(parsed, "hostname"),
        domainname: text(parsed, "domainname"),
        user: text(parsed, "user"),
        attach_stdin: attached.stdin,
        attach_stdout: attached.stdout,
        attach_stderr: attached.stderr,
        tty: parsed.switch("tty"),
        open_stdin: stdin,
        stdin_once: stdin && attached.stdin,
        cmd: (!command.is_empty()).then(|| Words(command.to_vec())),
        healthcheck: health(parsed)?,
        image: image.to_owned(),
        working_dir: text(parsed, "workdir"),
        // An empty --entrypoint resets the image's: a list of one empty string says so.
        entrypoint: parsed
            .one("entrypoint")
            .map(|path| Words(vec![path.to_owned()])),
        labels: environment::labels(parsed)?,
        stop_signal: text(parsed, "stop-signal"),
        stop_timeout: parsed.value("stop-timeout", number::integer)?,
        ..Config::default()
    })
}

/// The check of the container's health, if anything is said of it.
fn health(parsed: &Parsed) -> Result<Option<HealthConfig>, Failure> {
    let span = |name: &str| parsed.value(name, nanoseconds);
    let asked = HealthConfig {
        test: match parsed.one("health-cmd") {
            None | Some("") => Vec::new(),
            Some(command) => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        interval: span("health-interval")?.unwrap_or(0),
        timeout: span("health-timeout")?.unwrap_or(0),
        start_period: span("health-start-period")?.unwrap_or(0),
        start_interval: span("health-start-interval")?.unwrap_or(0),
        retries: number(parsed, "health-retries")?,
    };
    let nothing = asked == HealthConfig::default();
    if parsed.switch("no-healthcheck") {
        if !nothing {
            return Err(Failure::Invalid(
                "--no-healthcheck conflicts with --health-* options".to_owned(),
            ));
        }
        return Ok(Some(HealthConfig {
            test: vec!["NONE".to_owned()],
            ..HealthConfig::default()
        }));
    }
    for (name, value) in [
        ("interval", asked.interval),
        ("timeout", asked.timeout),
        ("retries", asked.retries),
        ("start-period", asked.start_period),
        ("start-interval", asked.start_interval),
    ] {
        if value < 0 {
            return Err(Failure::Invalid(format!(
                "--health-{name} cannot be negative"
            )));
        }
    }
    Ok((!nothing).then_some(asked))
}

fn host_config(
    parsed: &Parsed,
    binds: Vec<String>,
    bindings: PortMap,
) -> Result<HostConfig, Failure> {
    let some = |name: &str| Some(parsed.list(name)).filter(|list| !list.is_empty());
    let of_driver = |value: &String| security::is_of_driver(value);
    let (requested, devices): (Vec<_>, Vec<_>) =
        parsed.list("device").into_iter().partition(of_driver);
    let devices: Result<Vec<_>, _> = devices.iter().map(|one| security::device(one)).collect();
    let devices = devices.map_err(Failure::Invalid)?;
    let mut requests = parsed.values("gpus", gpus::request)?;
    if !requested.is_empty() {
        requests.push(DeviceRequest {
            driver: "cdi".to_owned(),
            device_ids: Some(requested),
            ..DeviceRequest::default()
        });
    }
    let restart_policy = restart_policy(parsed)?;
    let log_config = log_config(parsed)?;
    let Security {
        options,
        paths_open,
    } = security::options(parsed.list("security-opt"))?;
    let open = || paths_open.then(Vec::new);
    if parsed.switch("rm") && !matches!(restart_policy.name.as_str(), "" | "no") {
        return Err(Failure::Invalid(
            "conflicting options: cannot specify both --restart and --rm".to_owned(),
        ));
    }
    let common = HostConfig {
        binds: (!binds.is_empty()).then_some(binds),
        container_id_file: text(parsed, "cidfile"),
        annotations: pairs(&parsed.list("annotation")),
        log_config,
        port_bindings: Some(bindings),
        links: some("link"),
        restart_policy,
        auto_remove: parsed.switch("rm"),
        volume_driver: text(parsed, "volume-driver"),
        volumes_from: some("volumes-from"),
        console_size: console_size(parsed),
        cap_add: security::capabilities(&parsed.list("cap-add")),
        cap_drop: security::capabilities(&parsed.list("cap-drop")),
        cgroupns_mode: text(parsed, "cgroupns"),
        dns: Some(parsed.list("dns")),
        dns_options: Some(parsed.list("dns-option")),
        dns_search: Some(parsed.list("dns-search")),
        extra_hosts: some("add-host"),
        group_add: some("group-add"),
        ipc_mode: text(parsed, "ipc"),
        oom_score_adj: number(parsed, "oom-score-adj")?,
        pid_mode: text(parsed, "pid"),
        privileged: parsed.switch("privileged"),
        publish_all_ports: parsed.switch("publish-all"),
        readonly_rootfs: parsed.switch("read-only"),
        security_opt: (!parsed.list("security-opt").is_empty()).then_some(options),
        masked_paths: open(),
        readonly_paths: open(),
        tmpfs: mounts::tmpfs_flag(&parsed.list("tmpfs")),
        uts_mode: text(parsed, "uts"),
        userns_mode: text(parsed, "userns"),
        shm_size: parsed.value("shm-size", values::bytes)?.unwrap_or(0),
        storage_opt: storage_options(parsed)?,
        runtime: text(parsed, "runtime"),
        isolation: text(parsed, "isolation"),
        sysctls: pairs(&parsed.list("sysctl")),
        ..HostConfig::default()
    };
    let mut host = limits(parsed, devices, requests, common)?;
    host.mounts = parsed.values("mount", mounts::mount)?;
    host.init = parsed.one("init").map(|value| value == "true");
    Ok(host)
}

/// Adds what the container may use of the host, and how much of it.
fn limits(
    parsed: &Parsed,
    devices: Vec<api_types::Device>,
    requests: Vec<DeviceRequest>,
    host: HostConfig,
) -> Result<HostConfig, Failure> {
    Ok(HostConfig {
        cpu_shares: number(parsed, "cpu-shares")?,
        memory: parsed.value("memory", values::bytes)?.unwrap_or(0),
        nano_cpus: parsed.value("cpus", values::nano_cpus)?.unwrap_or(0),
        cpu_period: number(parsed, "cpu-period")?,
        cpu_quota: number(parsed, "cpu-quota")?,
        cpuset_cpus: text(parsed, "cpuset-cpus"),
        cpuset_mems: text(parsed, "cpuset-mems"),
        devices: Some(devices),
        device_requests: (!requests.is_empty()).then_some(requests),
        device_cgroup_rules: Some(parsed.list("device-cgroup-rule"))
            .filter(|rules| !rules.is_empty()),
        cgroup_parent: text(parsed, "cgroup-parent"),
        cpu_realtime_period: number(parsed, "cpu-rt-period")?,
        cpu_realtime_runtime: number(parsed, "cpu-rt-runtime")?,
        kernel_memory: parsed.value("kernel-memory", values::bytes)?.unwrap_or(0),
        blkio_weight: parsed.value("blkio-weight", disks::weight)?.unwrap_or(0),
        blkio_weight_device: Some(parsed.values("blkio-weight-device", disks::device_weight)?),
        blkio_device_read_bps: Some(parsed.values("device-read-bps", disks::bytes)?),
        blkio_device_write_bps: Some(parsed.values("device-write-bps", disks::bytes)?),
        blkio_device_read_iops: Some(parsed.values("device-read-iops", disks::requests)?),
        blkio_device_write_iops: Some(parsed.values("device-write-iops", disks::requests)?),
        memory_swappiness: Some(swappiness(parsed)?),
        oom_kill_disable: Some(parsed.switch("oom-kill-disable")),
        memory_reservation: parsed
            .value("memory-reservation", values::bytes)?
            .unwrap_or(0),
        memory_swap: parsed
            .value("memory-swap", values::bytes_or_unlimited)?
            .unwrap_or(0),
        pids_limit: Some(number(parsed, "pids-limit")?),
        ulimits: Some(ulimits(parsed)?),
        ..host
    })
}

/// `--storage-opt`, each with a value.
fn storage_options(parsed: &Parsed) -> Result<BTreeMap<String, String>, Failure> {
    let given = parsed.list("storage-opt");
    match given.iter().all(|option| option.contains('=')) {
        true => Ok(pairs(&given)),
        false => Err(Failure::Invalid("invalid storage option".to_owned())),
    }
}

fn text(parsed: &Parsed, name: &str) -> String {
    parsed.one(name).unwrap_or_default().to_owned()
}

fn number(parsed: &Parsed, name: &str) -> Result<i64, Failure> {
    Ok(parsed.value(name, number::integer)?.unwrap_or(0))
}

/// The tendency to swap; -1 says that nothing was asked for.
fn swappiness(parsed: &Parsed) -> Result<i64, Failure> {
    let asked = parsed.value("memory-swappiness", number::integer)?;
    match asked.unwrap_or(-1) {
        value @ -1..=100 => Ok(value),
        value => Err(Failure::Invalid(format!(
            "invalid value: {value}. Valid memory swappiness range is 0-100"
        ))),
    }
}

/// Limits in the order of their names; of several values the last one counts.
fn ulimits(parsed: &Parsed) -> Result<Vec<Ulimit>, Failure> {
    let given = parsed.values("ulimit", values::ulimit)?;
    let named: BTreeMap<_, _> = given
        .into_iter()
        .map(|limit| (limit.name.clone(), limit))
        .collect();
    Ok(named.into_values().collect())
}

/// Rows and columns of the terminal that will be attached, so that the first read inside is right.
fn console_size(parsed: &Parsed) -> [u32; 2] {
    if !parsed.switch("tty") {
        return [0, 0];
    }
    rustix::termios::tcgetwinsize(rustix::stdio::stdout())
        .map_or([0, 0], |size| [size.ws_row.into(), size.ws_col.into()])
}

fn volumes(parsed: &Parsed) -> Result<(Vec<String>, BTreeMap<String, Empty>), Failure> {
    let (mut binds, mut anonymous) = (Vec::new(), BTreeMap::new());
    for value in parsed.list("volume") {
        match mounts::volume_flag(&value).map_err(Failure::Invalid)? {
            mounts::Volume::Bind(bind) if binds.contains(&bind) => {}
            mounts::Volume::Bind(bind) => binds.push(bind),
            mounts::Volume::Anonymous(path) => drop(anonymous.insert(path, Empty)),
        }
    }
    Ok((binds, anonymous))
}

fn log_config(parsed: &Parsed) -> Result<LogConfig, Failure> {
    let options = parsed.list("log-opt");
    let kind = text(parsed, "log-driver");
    if kind == "none" && !options.is_empty() {
        return Err(Failure::Invalid(format!(
            "invalid logging opts for driver {kind}"
        )));
    }
    Ok(LogConfig {
        kind,
        config: Some(pairs(&options)),
    })
}

/// `no`, `always`, `unless-stopped`, `on-failure[:retries]`. The engine checks the name.
pub(crate) fn restart_policy(parsed: &Parsed) -> Result<RestartPolicy, Failure> {
    let value = parsed.one("restart").unwrap_or("no");
    let (name, count) = value.split_once(':').unwrap_or((value, ""));
    if name.is_empty() && !value.is_empty() {
        return Err(Failure::Invalid(
            "invalid restart policy format: no policy provided before colon".to_owned(),
        ));
    }
    let count = match count {
        "" => 0,
        count => count.parse().map_err(|_| {
            Failure::Invalid(
                "invalid restart policy format: maximum retry count must be an integer".to_owned(),
            )
        })?,
    };
    Ok(RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::container::flags;

    const FLAGS: &[&[crate::flag::Flag]] = &[flags::CONTAINER, flags::RUN];

    fn read(args: &[&str]) -> Result<ContainerCreate, Failure> {
        let parsed = Parsed::read(
            FLAGS,
            false,
            args.iter().map(|arg| (*arg).to_owned()).collect(),
        )?;
        request(&parsed, &parsed.args[0], &parsed.args[1..], &[])
    }

    #[test]
    fn a_full_line_becomes_a_request() {
        let create = read(&[
            "-it",
            "--name",
            "x",
            "-e",
            "A=1",
            "-m",
            "256m",
            "--cpus",
            "1.5",
            "-p",
            "8080:80",
            "-v",
            "/a:/b:ro",
            "-v",
            "/c",
            "--restart",
            "on-failure:3",
            "--ulimit",
            "nofile=10",
            "--entrypoint",
            "",
            "image",
            "cmd",
            "-x",
        ])
        .unwrap();
        let (config, host) = (create.config, create.host_config);
        assert_eq!(config.env.unwrap(), ["A=1"]);
        assert_eq!(config.cmd.unwrap().0, ["cmd", "-x"]);
        assert_eq!(config.entrypoint.unwrap().0, [""]);
        assert!(config.tty && config.open_stdin && config.stdin_once && config.attach_stdin);
        assert!(config.volumes.unwrap().contains_key("/c"));
        assert_eq!((host.memory, host.nano_cpus), (256 << 20, 1_500_000_000));
        assert_eq!(host.binds.unwrap(), ["/a:/b:ro"]);
        assert_eq!(
            host.restart_policy,
            RestartPolicy {
                name: "on-failure".to_owned(),
                maximum_retry_count: 3
            }
        );
        assert!(host.port_bindings.unwrap().contains_key("80/tcp"));
    }

    #[test]
    fn contradictions_are_told_before_the_daemon_is_asked() {
        let text = |args: &[&str]| read(args).unwrap_err().to_string();
        assert_eq!(
            text(&["--rm", "--restart", "always", "x"]),
            "conflicting options: cannot specify both --restart and --rm"
        );
        assert_eq!(
            text(&["-m", "abc", "x"]),
            "invalid argument \"abc\" for \"-m, --memory\" flag: invalid size: 'abc'"
        );
        assert_eq!(text(&["-p", "abc", "x"]), "invalid containerPort: abc");
        assert_eq!(
            text(&["--no-healthcheck", "--health-retries", "1", "x"]),
            "--no-healthcheck conflicts with --health-* options"
        );
        assert_eq!(
            text(&["--health-interval", "-1s", "x"]),
            "--health-interval cannot be negative"
        );
    }

    #[test]
    fn the_last_value_of_a_variable_counts_and_proxies_are_added() {
        let args = [
            "-e",
            "A=1",
            "-e",
            "B",
            "-e",
            "A=2",
            "-e",
            "http_proxy=mine",
            "x",
        ];
        let parsed = Parsed::read(FLAGS, false, args.map(str::to_owned).to_vec()).unwrap();
        let proxies = ["HTTP_PROXY", "http_proxy"].map(|name| (name.to_owned(), "p".to_owned()));
        let found = environment::of_container(&parsed, &proxies).unwrap();
        assert_eq!(found, ["A=2", "B", "http_proxy=mine", "HTTP_PROXY=p"]);
    }

    #[test]
    fn an_environment_file_is_read_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env");
        fs::write(&path, "# comment\n  A=1 2\n\nWHARF_TEST_SURELY_UNSET\nB=\n").unwrap();
        let create = read(&["--env-file", path.to_str().unwrap(), "-e", "C=3", "x"]).unwrap();
        assert_eq!(create.config.env.unwrap(), ["A=1 2", "B=", "C=3"]);
        fs::write(&path, "A B=1\n").unwrap();
        assert!(
            read(&["--env-file", path.to_str().unwrap(), "x"])
                .unwrap_err()
                .to_string()
                .contains("contains whitespaces")
        );
    }
}
