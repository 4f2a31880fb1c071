//! From the flags of `run` and `create` to the body of a create request.

use std::collections::BTreeMap;
use std::env;
use std::fs;

use api_types::{
    Config, ContainerCreate, Device, Empty, HealthConfig, HostConfig, LogConfig, PortMap,
    RestartPolicy, Words,
};

use super::{mounts, ports, values};
use crate::failure::Failure;
use crate::parse::{ParseError, Parsed};

/// Environment and label files larger than this are not read.
const FILE_LIMIT: u64 = 16 << 20;

/// The body of `POST /containers/create` for an image and its command.
///
/// # Errors
/// The first flag whose value is not understood, in docker's words.
pub(crate) fn request(
    parsed: &Parsed,
    image: &str,
    command: &[String],
) -> Result<ContainerCreate, Failure> {
    let mut exposed = BTreeMap::new();
    let mut bindings = PortMap::new();
    for value in parsed.list("publish") {
        ports::publish(&value, &mut exposed, &mut bindings).map_err(Failure::Invalid)?;
    }
    for value in parsed.list("expose") {
        ports::expose(&value, &mut exposed).map_err(Failure::Invalid)?;
    }
    check_modes(parsed)?;
    let (binds, anonymous) = volumes(parsed)?;
    Ok(ContainerCreate {
        config: config(parsed, image, command, exposed, anonymous)?,
        host_config: host_config(parsed, binds, bindings)?,
        ..ContainerCreate::default()
    })
}

/// Modes that docker's client refuses by itself.
fn check_modes(parsed: &Parsed) -> Result<(), Failure> {
    let among = |flag: &str, name: &str, known: &[&str], container: bool| {
        let mode = text(parsed, flag);
        let of_container = container
            && mode
                .strip_prefix("container:")
                .is_some_and(|name| !name.is_empty());
        if known.contains(&mode.as_str()) || of_container {
            return Ok(());
        }
        Err(Failure::Invalid(format!("--{flag}: invalid {name} mode")))
    };
    among("pid", "PID", &["", "host", "private"], true)?;
    among("uts", "UTS", &["", "host"], false)?;
    among("userns", "USER", &["", "host"], false)?;
    among("cgroupns", "CGROUP", &["", "host", "private"], false)?;
    for value in parsed.list("device") {
        let host = value.split(':').next().unwrap_or_default();
        if !host.starts_with('/') && !host.contains('=') {
            return Err(Failure::Invalid(format!("{host} is not an absolute path")));
        }
    }
    for value in parsed.list("dns") {
        if value.parse::<std::net::IpAddr>().is_err() {
            let why = format!("IP address is not correctly formatted: {value}");
            return Err(invalid(value, "--dns", why));
        }
    }
    for value in parsed.list("add-host") {
        let parts = value.split_once('=').or_else(|| value.split_once(':'));
        if parts.is_none_or(|(name, _)| name.is_empty()) {
            let why = format!("bad format for add-host: {value:?}");
            return Err(invalid(value, "--add-host", why));
        }
    }
    Ok(())
}

fn invalid(value: String, flag: &str, why: String) -> Failure {
    Failure::Parse(ParseError::Invalid {
        value,
        flag: flag.to_owned(),
        why,
    })
}

fn config(
    parsed: &Parsed,
    image: &str,
    command: &[String],
    exposed_ports: BTreeMap<String, Empty>,
    volumes: BTreeMap<String, Empty>,
) -> Result<Config, Failure> {
    let attached = |name: &str| {
        parsed
            .list("attach")
            .iter()
            .any(|stream| stream.eq_ignore_ascii_case(name))
    };
    let none_named = parsed.list("attach").is_empty();
    let detached = parsed.switch("detach");
    let stdin = parsed.switch("interactive");
    let attach_stdin = !detached && stdin && (none_named || attached("stdin"));
    Ok(Config {
        hostname: text(parsed, "hostname"),
        domainname: text(parsed, "domainname"),
        user: text(parsed, "user"),
        attach_stdin,
        attach_stdout: !detached && (none_named || attached("stdout")),
        attach_stderr: !detached && (none_named || attached("stderr")),
        exposed_ports,
        tty: parsed.switch("tty"),
        open_stdin: stdin,
        stdin_once: attach_stdin,
        env: Some(environment(parsed)?),
        cmd: (!command.is_empty()).then(|| Words(command.to_vec())),
        healthcheck: parsed.switch("no-healthcheck").then(|| HealthConfig {
            test: vec!["NONE".to_owned()],
            ..HealthConfig::default()
        }),
        image: image.to_owned(),
        volumes: (!volumes.is_empty()).then_some(volumes),
        working_dir: text(parsed, "workdir"),
        // An empty --entrypoint resets the image's: a list of one empty string says so.
        entrypoint: parsed
            .one("entrypoint")
            .map(|path| Words(vec![path.to_owned()])),
        labels: labels(parsed)?,
        stop_signal: text(parsed, "stop-signal"),
        stop_timeout: parsed.value("stop-timeout", values::integer)?,
        ..Config::default()
    })
}

fn host_config(
    parsed: &Parsed,
    binds: Vec<String>,
    bindings: PortMap,
) -> Result<HostConfig, Failure> {
    let some = |name: &str| Some(parsed.list(name)).filter(|list| !list.is_empty());
    let networks = parsed.list("network");
    if networks.len() > 1 {
        return Err(Failure::Invalid(
            "a container on several networks is not supported yet".to_owned(),
        ));
    }
    let memory = parsed.value("memory", values::bytes)?.unwrap_or(0);
    Ok(HostConfig {
        binds: (!binds.is_empty()).then_some(binds),
        container_id_file: text(parsed, "cidfile"),
        log_config: log_config(parsed)?,
        network_mode: networks
            .into_iter()
            .next()
            .unwrap_or_else(|| "default".to_owned()),
        port_bindings: Some(bindings),
        restart_policy: restart_policy(parsed)?,
        auto_remove: parsed.switch("rm"),
        volume_driver: text(parsed, "volume-driver"),
        console_size: console_size(parsed),
        cap_add: some("cap-add"),
        cap_drop: some("cap-drop"),
        cgroupns_mode: text(parsed, "cgroupns"),
        dns: some("dns"),
        dns_options: some("dns-option"),
        dns_search: some("dns-search"),
        extra_hosts: some("add-host"),
        group_add: some("group-add"),
        ipc_mode: text(parsed, "ipc"),
        oom_score_adj: number(parsed, "oom-score-adj")?,
        pid_mode: text(parsed, "pid"),
        privileged: parsed.switch("privileged"),
        publish_all_ports: parsed.switch("publish-all"),
        readonly_rootfs: parsed.switch("read-only"),
        security_opt: security_options(parsed)?,
        masked_paths: system_paths(parsed),
        readonly_paths: system_paths(parsed),
        tmpfs: mounts::tmpfs_flag(&parsed.list("tmpfs")),
        uts_mode: text(parsed, "uts"),
        userns_mode: text(parsed, "userns"),
        shm_size: parsed.value("shm-size", values::bytes)?.unwrap_or(0),
        sysctls: pairs(&parsed.list("sysctl")),
        cpu_shares: number(parsed, "cpu-shares")?,
        memory,
        nano_cpus: parsed.value("cpus", values::nano_cpus)?.unwrap_or(0),
        cpu_period: number(parsed, "cpu-period")?,
        cpu_quota: number(parsed, "cpu-quota")?,
        cpuset_cpus: text(parsed, "cpuset-cpus"),
        cpuset_mems: text(parsed, "cpuset-mems"),
        devices: Some(parsed.values("device", device)?).filter(|list| !list.is_empty()),
        memory_reservation: parsed
            .value("memory-reservation", values::bytes)?
            .unwrap_or(0),
        memory_swap: parsed
            .value("memory-swap", values::bytes_or_unlimited)?
            .unwrap_or(0),
        pids_limit: parsed
            .value("pids-limit", values::integer)?
            .filter(|value| *value != 0),
        ulimits: Some(parsed.values("ulimit", values::ulimit)?).filter(|list| !list.is_empty()),
        mounts: parsed.values("mount", mounts::mount)?,
        init: parsed.one("init").map(|value| value == "true"),
        ..HostConfig::default()
    })
}

fn text(parsed: &Parsed, name: &str) -> String {
    parsed.one(name).unwrap_or_default().to_owned()
}

fn number(parsed: &Parsed, name: &str) -> Result<i64, Failure> {
    Ok(parsed.value(name, values::integer)?.unwrap_or(0))
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
            mounts::Volume::Bind(bind) => binds.push(bind),
            mounts::Volume::Anonymous(path) => drop(anonymous.insert(path, Empty)),
        }
    }
    Ok((binds, anonymous))
}

/// `--env-file` and then `--env`; a name without a value takes it from this process, if it has one.
///
/// # Errors
/// A file that can not be read, or a name with white space in it.
pub(crate) fn environment(parsed: &Parsed) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for path in parsed.list("env-file") {
        for line in lines(&path)? {
            let name = line.split('=').next().unwrap_or_default();
            if name.contains(char::is_whitespace) {
                return Err(Failure::Invalid(format!(
                    "invalid env file ({path}): variable '{name}' contains whitespaces"
                )));
            }
            if name.is_empty() {
                return Err(Failure::Invalid(format!(
                    "invalid env file ({path}): no variable name on line '{line}'"
                )));
            }
            found.extend(with_value(&line));
        }
    }
    for variable in parsed.list("env") {
        if variable.is_empty() || variable.starts_with('=') {
            return Err(Failure::Invalid(format!(
                "invalid argument {variable:?} for \"-e, --env\" flag: invalid environment variable: {variable}"
            )));
        }
        found.extend(with_value(&variable));
    }
    Ok(found)
}

fn with_value(variable: &str) -> Option<String> {
    if variable.contains('=') {
        return Some(variable.to_owned());
    }
    env::var(variable)
        .ok()
        .map(|value| format!("{variable}={value}"))
}

/// Lines of a file that are neither empty nor comments, without white space in front.
fn lines(path: &str) -> Result<Vec<String>, Failure> {
    let failed = Failure::local(format!("open {path}"));
    let meta = fs::metadata(path);
    if meta.as_ref().is_ok_and(|meta| meta.len() > FILE_LIMIT) {
        return Err(Failure::Invalid(format!("{path}: larger than 16 MiB")));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text
        .lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect())
}

fn labels(parsed: &Parsed) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = Vec::new();
    for path in parsed.list("label-file") {
        all.extend(lines(&path)?);
    }
    all.extend(parsed.list("label"));
    Ok(pairs(&all))
}

fn pairs(list: &[String]) -> BTreeMap<String, String> {
    list.iter()
        .map(|text| text.split_once('=').unwrap_or((text, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn log_config(parsed: &Parsed) -> Result<LogConfig, Failure> {
    let options = parsed.list("log-opt");
    let kind = text(parsed, "log-driver");
    if kind == "none" && !options.is_empty() {
        return Err(Failure::Invalid(format!(
            "invalid logging opts for driver {kind}"
        )));
    }
    let wrong = options.iter().find(|option| !option.contains('='));
    if let Some(option) = wrong {
        return Err(Failure::Invalid(format!(
            "invalid log option {option:?}: name=value is expected"
        )));
    }
    Ok(LogConfig {
        kind,
        config: Some(pairs(&options)),
    })
}

/// `no`, `always`, `unless-stopped`, `on-failure[:retries]`.
fn restart_policy(parsed: &Parsed) -> Result<RestartPolicy, Failure> {
    let value = parsed.one("restart").unwrap_or("no");
    if value.is_empty() {
        return Ok(RestartPolicy {
            name: "no".to_owned(),
            maximum_retry_count: 0,
        });
    }
    let (name, count) = value
        .split_once(':')
        .map_or((value, None), |(name, count)| (name, Some(count)));
    if name.is_empty() {
        return Err(Failure::Invalid(
            "invalid restart policy format: no policy provided before colon".to_owned(),
        ));
    }
    let count = match count {
        None => 0,
        Some(count) => count.parse().map_err(|_| {
            Failure::Invalid(
                "invalid restart policy format: maximum retry count must be an integer".to_owned(),
            )
        })?,
    };
    let policy = RestartPolicy {
        name: name.to_owned(),
        maximum_retry_count: count,
    };
    if parsed.switch("rm") && policy.name != "no" {
        return Err(Failure::Invalid(
            "conflicting options: cannot specify both --restart and --rm".to_owned(),
        ));
    }
    Ok(policy)
}

/// `path[:path-inside[:permissions]]`.
fn device(value: &str) -> Result<Device, String> {
    let parts: Vec<_> = value.split(':').collect();
    let is_mode =
        |text: &str| !text.is_empty() && text.chars().all(|letter| "rwm".contains(letter));
    let (host, inside, permissions) = match parts.as_slice() {
        [host] => (*host, *host, "rwm"),
        [host, mode] if is_mode(mode) => (*host, *host, *mode),
        [host, inside] => (*host, *inside, "rwm"),
        [host, inside, mode] if is_mode(mode) => (*host, *inside, *mode),
        [_, _, mode] => return Err(format!("{mode} is not a valid mode")),
        _ => return Err(format!("invalid device specification: {value}")),
    };
    let owned = str::to_owned;
    Ok(Device {
        path_on_host: owned(host),
        path_in_container: owned(inside),
        cgroup_permissions: owned(permissions),
    })
}

/// The security option that hides and protects nothing. The API has lists of paths for it.
const SYSTEM_PATHS: (&str, &str) = ("systempaths", "unconfined");

/// No paths, when [`SYSTEM_PATHS`] is given; else the daemon's own.
fn system_paths(parsed: &Parsed) -> Option<Vec<String>> {
    let options = parsed.list("security-opt");
    let mut pairs = options
        .iter()
        .filter_map(|option| option.split_once('=').or_else(|| option.split_once(':')));
    pairs.any(|option| option == SYSTEM_PATHS).then(Vec::new)
}

/// A seccomp profile is named by its file here and sent whole: the daemon may be elsewhere.
fn security_options(parsed: &Parsed) -> Result<Option<Vec<String>>, Failure> {
    let mut options = Vec::new();
    for option in parsed.list("security-opt") {
        let (key, value) = option
            .split_once('=')
            .or_else(|| option.split_once(':'))
            .unwrap_or((&option, ""));
        if value.is_empty() && key != "no-new-privileges" && key != "disable" {
            return Err(Failure::Invalid(format!(
                "Invalid --security-opt: {option:?}"
            )));
        }
        if (key, value) == SYSTEM_PATHS {
            continue;
        }
        if key != "seccomp" || matches!(value, "unconfined" | "builtin") {
            options.push(option);
            continue;
        }
        let profile = fs::read_to_string(value).map_err(Failure::local(format!(
            "opening seccomp profile ({value}) failed: open {value}"
        )))?;
        let compact: serde_json::Value = serde_json::from_str(&profile).map_err(|error| {
            Failure::Invalid(format!(
                "compacting json for seccomp profile ({value}) failed: {error}"
            ))
        })?;
        options.push(format!("seccomp={compact}"));
    }
    Ok((!options.is_empty()).then_some(options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::flags;

    const FLAGS: &[&[crate::flag::Flag]] = &[flags::CONTAINER, flags::RUN];

    fn read(args: &[&str]) -> Result<ContainerCreate, Failure> {
        let parsed = Parsed::read(
            FLAGS,
            false,
            args.iter().map(|arg| (*arg).to_owned()).collect(),
        )?;
        request(&parsed, &parsed.args[0], &parsed.args[1..])
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

    #[test]
    fn devices() {
        let one = device("/dev/a:/dev/b:rw").unwrap();
        assert_eq!(
            (
                one.path_in_container.as_str(),
                one.cgroup_permissions.as_str()
            ),
            ("/dev/b", "rw")
        );
        assert_eq!(device("/dev/a:r").unwrap().path_in_container, "/dev/a");
        assert!(device("/dev/a:/dev/b:x").is_err());
    }
}
