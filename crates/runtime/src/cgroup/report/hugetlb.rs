//! Huge pages in use.

use std::collections::BTreeMap;

use super::{HugetlbReport, number_if_there};
use crate::cgroup::CgroupError;
use crate::cgroup::directory::{Folder, keyed};
use crate::cgroup::hugetlb::sizes;

pub(super) fn read(
    folder: &Folder<'_>,
    v1: bool,
) -> Result<BTreeMap<String, HugetlbReport>, CgroupError> {
    let one = |size: String| {
        let number = |file: &str| number_if_there(folder, &format!("hugetlb.{size}.{file}"));
        let report = if v1 {
            HugetlbReport {
                usage: number("usage_in_bytes")?,
                max: number("max_usage_in_bytes")?,
                failures: number("failcnt")?,
            }
        } else {
            let events = folder.read_if_exists(&format!("hugetlb.{size}.events"))?;
            let failures = events.as_deref().and_then(|text| keyed(text, "max"));
            HugetlbReport {
                usage: number("current")?,
                max: 0,
                failures: failures.and_then(|value| value.parse().ok()).unwrap_or(0),
            }
        };
        Ok((size, report))
    };
    sizes().into_iter().map(one).collect()
}
