//! The person's terminal: its size, and raw mode for as long as it is needed.

use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{
    LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

/// Whether a stream is a terminal.
pub(crate) fn is_terminal(stream: impl AsFd) -> bool {
    isatty(stream)
}

/// Rows and columns of the terminal that output goes to; `None` when it is not one.
pub(crate) fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(rustix::stdio::stdout()).ok()?;
    (size.ws_row > 0 && size.ws_col > 0).then_some((size.ws_row, size.ws_col))
}

/// Columns of a terminal; `None` when the stream is not one.
pub(crate) fn columns(stream: impl AsFd) -> Option<usize> {
    let size = tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Raw mode, until dropped.
pub(crate) struct Raw {
    terminal: OwnedFd,
    before: Termios,
}

impl Raw {
    /// Puts the terminal of standard input into raw mode. `None` when it is no terminal.
    pub(crate) fn enter() -> Option<Self> {
        let terminal = rustix::stdio::stdin().try_clone_to_owned().ok()?;
        let before = tcgetattr(&terminal).ok()?;
        sys::signals::remember_terminal();
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw).ok()?;
        Some(Raw { terminal, before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
        sys::signals::forget_terminal();
    }
}

/// Asks, and waits for what somebody types. Who ends the program instead is answered with a new line, and no failure.
pub(crate) fn answer<T>(ask: impl FnOnce() -> T) -> T {
    sys::signals::asking(true);
    let typed = ask();
    sys::signals::asking(false);
    typed
}

/// A terminal that does not show what is typed, until dropped.
pub(crate) struct Silence(Option<(OwnedFd, Termios)>);

impl Silence {
    /// Silences the terminal of standard input, if it is one.
    pub(crate) fn enter() -> Self {
        let terminal = rustix::stdio::stdin().try_clone_to_owned().ok();
        let silenced = terminal.and_then(|terminal| {
            let before = tcgetattr(&terminal).ok()?;
            sys::signals::remember_terminal();
            let mut silent = before.clone();
            silent.local_modes.remove(LocalModes::ECHO);
            tcsetattr(&terminal, OptionalActions::Now, &silent).ok()?;
            Some((terminal, before))
        });
        Silence(silenced)
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let Some((terminal, before)) = &self.0 {
            let _ = tcsetattr(terminal, OptionalActions::Now, before);
            sys::signals::forget_terminal();
        }
    }
}
