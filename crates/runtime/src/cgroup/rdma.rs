//! Adapters for remote direct memory access.

use super::directory::Folder;
use super::driver::Driver;
use super::resources::RdmaLimit;
use super::{CgroupError, Controller, Resources};

/// Both versions have it.
const MAX: &str = "rdma.max";

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Rdma,
    wanted: |resources| (!resources.rdma.is_empty()).then_some("a limit of RDMA handles"),
    apply_v1: apply,
    apply_v2: apply,
    read_v1: |_, _| Ok(()),
    read_v2: |_, _| Ok(()),
};

fn apply(folder: &Folder<'_>, resources: &Resources) -> Result<(), CgroupError> {
    if resources.rdma.is_empty() {
        return Ok(());
    }
    folder.write_all(
        MAX,
        resources
            .rdma
            .iter()
            .map(|(name, limit)| line(name, *limit)),
    )
}

fn line(adapter: &str, limit: RdmaLimit) -> String {
    let mut line = adapter.to_owned();
    for (key, number) in [("hca_handle", limit.handles), ("hca_object", limit.objects)] {
        if let Some(number) = number {
            line.push_str(&format!(" {key}={number}"));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_is_limited() {
        let limit = |handles, objects| RdmaLimit { handles, objects };
        assert_eq!(
            line("mlx5_0", limit(Some(2), Some(2000))),
            "mlx5_0 hca_handle=2 hca_object=2000"
        );
        assert_eq!(line("mlx5_0", limit(None, Some(0))), "mlx5_0 hca_object=0");
    }
}
