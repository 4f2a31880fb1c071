//! Huge pages.

use super::directory::Folder;
use super::driver::Driver;
use super::{CgroupError, Controller, Resources};

const SIZES: &str = "/sys/kernel/mm/hugepages";
/// More sizes than any processor has.
const MOST: usize = 64;

pub(super) const DRIVER: Driver = Driver {
    controller: Controller::Hugetlb,
    wanted,
    apply_v1: |folder, resources| apply(folder, resources, "limit_in_bytes"),
    apply_v2: |folder, resources| apply(folder, resources, "max"),
    read_v1: |_, _| Ok(()),
    read_v2: |_, _| Ok(()),
};

fn wanted(resources: &Resources) -> Option<&'static str> {
    (!resources.huge_pages.is_empty()).then_some("a limit of huge pages")
}

/// Refuses sizes that the kernel does not have: before the controller is handed down for their sake, and before their
/// names become those of files.
pub(super) fn check(resources: &Resources) -> Result<(), CgroupError> {
    if resources.huge_pages.is_empty() {
        return Ok(());
    }
    let known = sizes();
    let mut asked = resources.huge_pages.iter().map(|(size, _)| size);
    match asked.find(|size| !known.contains(size)) {
        Some(size) => Err(CgroupError::NoPageSize {
            size: size.clone(),
            known: known.join(", "),
        }),
        None => Ok(()),
    }
}

/// Limits what is used, and what is set aside for mappings, since a mapping whose pages are refused when it touches them
/// ends its process.
fn apply(folder: &Folder<'_>, resources: &Resources, file: &str) -> Result<(), CgroupError> {
    for (size, limit) in &resources.huge_pages {
        let limit = limit.to_string();
        folder.write(&format!("hugetlb.{size}.{file}"), &limit)?;
        let reserved = format!("hugetlb.{size}.rsvd.{file}");
        if folder.has(&reserved) {
            folder.write(&reserved, &limit)?;
        }
    }
    Ok(())
}

/// Sizes of the kernel's huge pages as its files have them: `64KB`, `2MB`, `1GB`.
pub(super) fn sizes() -> Vec<String> {
    let entries = std::fs::read_dir(SIZES).into_iter().flatten().flatten();
    let mut bytes: Vec<u64> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kilobytes = name.strip_prefix("hugepages-")?.strip_suffix("kB")?;
            kilobytes.parse::<u64>().ok()
        })
        .take(MOST)
        .collect();
    bytes.sort_unstable();
    bytes.into_iter().map(name).collect()
}

fn name(kilobytes: u64) -> String {
    match kilobytes {
        0..1024 => format!("{kilobytes}KB"),
        1024..1_048_576 => format!("{}MB", kilobytes / 1024),
        _ => format!("{}GB", kilobytes / 1_048_576),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_kernels_names() {
        assert_eq!([64, 2048, 1_048_576].map(name), ["64KB", "2MB", "1GB"]);
    }
}
