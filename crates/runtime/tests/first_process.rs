//! What a container's first process finds around it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use support::{plan, root, run};
use sys::process::Exit;

#[test]
fn a_program_runs_in_a_root_of_its_own() {
    let root = root();
    let ended = run(plan(root.path(), "echo $$; hostname; ls /; cat /proc/1/comm; exit 7")).unwrap();
    assert_eq!(ended.output, "1\nbox\nbin\ndev\netc\nproc\nsys\ntmp\nsh\n");
    assert_eq!(ended.exit, Exit::Code(7));
}
