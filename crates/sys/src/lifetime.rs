//! Which process a number meant.

/// Start time of a process in clock ticks since the host's (field 22 of `/proc/PID/stat`, proc(5)), which with the number
/// and the boot tells it from all others; `None` when there is none with that number.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let mut text = [0; 1024];
    let length = std::fs::File::open(format!("/proc/{pid}/stat"))
        .and_then(|mut file| std::io::Read::read(&mut file, &mut text))
        .ok()?;
    // The name in parentheses may hold anything.
    let after_name = text.get(..length)?.rsplit(|&byte| byte == b')').next()?;
    let field = after_name.split(|&byte| byte == b' ').nth(20)?;
    std::str::from_utf8(field).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_start_of_this_process_is_known() {
        let ours = start_ticks(std::process::id()).unwrap();
        assert!(ours > 0 && start_ticks(1).unwrap() <= ours);
        assert_eq!(start_ticks(u32::MAX), None);
    }
}
