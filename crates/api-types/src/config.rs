//! What a container or an image says about the process to run.

use std::collections::BTreeMap;

use crate::wire::{Empty, Words, wire};

wire! {
    /// The part of a container's configuration that does not depend on the host.
    pub struct Config {
        /// Host name inside the container; empty for the container's short id.
        hostname: String = "Hostname",
        /// NIS domain name.
        domainname: String = "Domainname",
        /// `user`, `uid`, `user:group` or `uid:gid`.
        user: String = "User",
        /// Whether the client that creates means to attach to standard input.
        attach_stdin: bool = "AttachStdin",
        /// Whether the client that creates means to attach to standard output.
        attach_stdout: bool = "AttachStdout",
        /// Whether the client that creates means to attach to standard error.
        attach_stderr: bool = "AttachStderr",
        /// Ports that the program listens on, as `80/tcp`.
        exposed_ports: BTreeMap<String, Empty> = "ExposedPorts" omitempty,
        /// Whether the process gets a terminal.
        tty: bool = "Tty",
        /// Whether standard input stays open without an attached client.
        open_stdin: bool = "OpenStdin",
        /// Whether standard input closes when the first attached client goes.
        stdin_once: bool = "StdinOnce",
        /// `NAME=value`; a `NAME` alone removes the variable.
        env: Option<Vec<String>> = "Env",
        /// Arguments, or the whole command when there is no entry point.
        cmd: Option<Words> = "Cmd",
        /// The check of the container's health.
        healthcheck: Option<HealthConfig> = "Healthcheck" omitempty,
        /// Whether the command is already escaped (Windows).
        args_escaped: bool = "ArgsEscaped" omitempty,
        /// The image as the user named it.
        image: String = "Image",
        /// Folders that become anonymous volumes.
        volumes: Option<BTreeMap<String, Empty>> = "Volumes",
        /// Working folder.
        working_dir: String = "WorkingDir",
        /// What is put before the command. A list of one empty string resets the image's.
        entrypoint: Option<Words> = "Entrypoint",
        /// Whether the container has no network at all.
        network_disabled: bool = "NetworkDisabled" omitempty,
        /// Hardware address, read from clients before 1.44; newer ones say it per endpoint.
        mac_address: String = "MacAddress" omitempty,
        /// Triggers of the image's build file.
        on_build: Vec<String> = "OnBuild" omitempty,
        /// Labels.
        labels: BTreeMap<String, String> = "Labels",
        /// The signal that asks the process to end; empty for SIGTERM.
        stop_signal: String = "StopSignal" omitempty,
        /// Seconds between that signal and SIGKILL.
        stop_timeout: Option<i64> = "StopTimeout" omitempty,
        /// The shell of a build file's shell form.
        shell: Vec<String> = "Shell" omitempty,
    }
}

wire! {
    /// How a container's health is found out. All times are in nanoseconds; zero inherits.
    pub struct HealthConfig {
        /// `[]` inherits, `["NONE"]` switches off, else `["CMD", …]` or `["CMD-SHELL", command]`.
        test: Vec<String> = "Test" omitempty,
        /// Time between two checks.
        interval: i64 = "Interval" omitempty,
        /// Time after which a check counts as failed.
        timeout: i64 = "Timeout" omitempty,
        /// Time in which failures do not count.
        start_period: i64 = "StartPeriod" omitempty,
        /// Time between two checks during the start period.
        start_interval: i64 = "StartInterval" omitempty,
        /// Failures in a row that make the container unhealthy.
        retries: i64 = "Retries" omitempty,
    }
}

wire! {
    /// The part of an image's configuration that containers inherit.
    pub struct ImageConfig {
        /// `user`, `uid`, `user:group` or `uid:gid`.
        user: String = "User" omitempty,
        /// Ports that the program listens on, as `80/tcp`.
        exposed_ports: BTreeMap<String, Empty> = "ExposedPorts" omitempty,
        /// `NAME=value`.
        env: Option<Vec<String>> = "Env" omitempty,
        /// What is put before the command.
        entrypoint: Option<Words> = "Entrypoint" omitempty,
        /// The default command, or the default arguments of the entry point.
        cmd: Option<Words> = "Cmd" omitempty,
        /// Folders that become anonymous volumes.
        volumes: Option<BTreeMap<String, Empty>> = "Volumes" omitempty,
        /// Working folder.
        working_dir: String = "WorkingDir" omitempty,
        /// Labels.
        labels: Option<BTreeMap<String, String>> = "Labels" omitempty,
        /// The signal that asks the process to end.
        stop_signal: String = "StopSignal" omitempty,
        /// Whether the command is already escaped (Windows).
        args_escaped: bool = "ArgsEscaped" omitempty,
        /// The check of the container's health.
        healthcheck: Option<HealthConfig> = "Healthcheck" omitempty,
        /// Triggers of the build file.
        on_build: Vec<String> = "OnBuild" omitempty,
        /// The shell of a build file's shell form.
        shell: Vec<String> = "Shell" omitempty,
    }
}
