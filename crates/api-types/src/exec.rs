//! Commands that are run in a container that runs already.

use crate::wire::{Words, wire};

wire! {
    /// A command to be run.
    pub struct ExecCreate {
        /// User, as in a container's configuration; empty for the container's.
        user: String = "User",
        /// Whether the command gets every capability.
        privileged: bool = "Privileged",
        /// Whether the command gets a terminal.
        tty: bool = "Tty",
        /// First size of the terminal: rows, columns.
        console_size: Option<[u32; 2]> = "ConsoleSize" omitempty,
        /// Whether standard input is attached.
        attach_stdin: bool = "AttachStdin",
        /// Whether standard error is attached.
        attach_stderr: bool = "AttachStderr",
        /// Whether standard output is attached.
        attach_stdout: bool = "AttachStdout",
        /// Keys that detach; empty for the container's.
        detach_keys: String = "DetachKeys",
        /// Variables beside the container's.
        env: Option<Vec<String>> = "Env",
        /// Working folder; empty for the container's.
        working_dir: String = "WorkingDir",
        /// Program and arguments.
        cmd: Option<Words> = "Cmd",
    }
}

wire! {
    /// How a command is started.
    pub struct ExecStart {
        /// Whether the client does not stay.
        detach: bool = "Detach",
        /// Whether the client expects a terminal's stream.
        tty: bool = "Tty",
        /// First size of the terminal: rows, columns.
        console_size: Option<[u32; 2]> = "ConsoleSize" omitempty,
    }
}

wire! {
    /// Everything about one command.
    pub struct ExecInspect {
        /// Id.
        id: String = "ID",
        /// Whether it runs.
        running: bool = "Running",
        /// Exit status; `null` before the end.
        exit_code: Option<i64> = "ExitCode",
        /// What is run.
        process_config: ExecProcess = "ProcessConfig",
        /// Whether standard input is attached.
        open_stdin: bool = "OpenStdin",
        /// Whether standard error is attached.
        open_stderr: bool = "OpenStderr",
        /// Whether standard output is attached.
        open_stdout: bool = "OpenStdout",
        /// Whether it can be forgotten.
        can_remove: bool = "CanRemove",
        /// The container.
        container_id: String = "ContainerID",
        /// Keys that detach, in base 64.
        detach_keys: String = "DetachKeys",
        /// Process id on the host; 0 before the start.
        pid: i64 = "Pid",
    }
}

wire! {
    /// What a command runs.
    pub struct ExecProcess {
        /// Whether it has a terminal.
        tty: bool = "tty",
        /// Program.
        entrypoint: String = "entrypoint",
        /// Arguments.
        arguments: Option<Vec<String>> = "arguments",
        /// Whether it has every capability.
        privileged: Option<bool> = "privileged" omitempty,
        /// User.
        user: String = "user" omitempty,
    }
}
