//! Where a container's memory comes from (set_mempolicy(2)).

use runtime::plan::{MAX_NODES, MemoryPolicy};

use crate::error::{Error, Result};
use crate::spec;

/// Modes by the specification's names, with the kernel's numbers and whether they take nodes.
pub(crate) const MODES: [(&str, u32, Nodes); 7] = [
    ("MPOL_DEFAULT", 0, Nodes::None),
    ("MPOL_PREFERRED", 1, Nodes::Some),
    ("MPOL_BIND", 2, Nodes::Some),
    ("MPOL_INTERLEAVE", 3, Nodes::Some),
    ("MPOL_LOCAL", 4, Nodes::None),
    ("MPOL_PREFERRED_MANY", 5, Nodes::Some),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Nodes::Some),
];
/// Flags in the same way.
pub(crate) const FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", 1 << 14),
    ("MPOL_F_STATIC_NODES", 1 << 15),
];

/// Whether a mode takes nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nodes {
    /// It takes none.
    None,
    /// It may take some; without any the kernel has its own reading, or refuses.
    Some,
}

pub(crate) fn policy(asked: Option<&spec::MemoryPolicy>) -> Result<Option<MemoryPolicy>> {
    let Some(asked) = asked else {
        return Ok(None);
    };
    let wrong = |name: &str, why: String| {
        let field = format!("linux.memoryPolicy.{name}");
        Err(Error::field(field, why))
    };
    let mut flags = 0;
    for word in asked.flags.iter().flatten() {
        match FLAGS.iter().find(|(name, _)| name == word) {
            Some((_, flag)) => flags |= flag,
            None => return wrong("flags", format!("{word:?} is no flag")),
        }
    }
    let word = asked.mode.as_deref().unwrap_or_default();
    let Some(&(_, mode, takes)) = MODES.iter().find(|(name, ..)| *name == word) else {
        return wrong("mode", format!("{word:?} is no mode"));
    };
    let list = asked.nodes.as_deref().unwrap_or_default();
    let Some(nodes) = nodes(list) else {
        let why = format!(
            "{list:?} is no list of nodes, which are from 0 to {}",
            MAX_NODES - 1
        );
        return wrong("nodes", why);
    };
    if takes == Nodes::None && nodes.iter().any(|part| *part != 0) {
        return wrong("nodes", format!("{word} takes none"));
    }
    Ok(Some(MemoryPolicy {
        mode: mode | flags,
        nodes,
    }))
}

/// A bit for each node of a list such as `0-3,7`; empty for an empty list.
fn nodes(list: &str) -> Option<Vec<u64>> {
    if list.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut set = vec![0u64; MAX_NODES / 64];
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok();
        let (first, last) = (number(first)?, number(last)?);
        if first > last || last >= MAX_NODES {
            return None;
        }
        for node in first..=last {
            *set.get_mut(node / 64)? |= 1 << (node % 64);
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_nodes_are_read() {
        assert_eq!(nodes(""), Some(Vec::new()));
        let first = |list| nodes(list).map(|set| set[0]);
        assert_eq!(first("0-2, 9"), Some(0b10_0000_0111));
        for wrong in ["a", "3-1", "1,", "1024", "-1", "0-99999999999"] {
            assert_eq!(nodes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn words_become_the_kernels_numbers() {
        let asked = |mode: &str, nodes: &str, flags: &[&str]| spec::MemoryPolicy {
            mode: Some(mode.to_owned()),
            nodes: Some(nodes.to_owned()),
            flags: Some(flags.iter().map(|flag| (*flag).to_owned()).collect()),
        };
        let read = policy(Some(&asked("MPOL_BIND", "1", &["MPOL_F_STATIC_NODES"])));
        let read = read.unwrap().unwrap();
        assert_eq!((read.mode, read.nodes[0]), (2 | 1 << 15, 2));
        for (mode, nodes, flags, field) in [
            ("MPOL_MAYBE", "", &[][..], "mode"),
            ("MPOL_LOCAL", "0", &[], "nodes"),
            ("MPOL_BIND", "x", &[], "nodes"),
            ("MPOL_BIND", "0", &["MPOL_F_X"], "flags"),
        ] {
            let error = policy(Some(&asked(mode, nodes, flags))).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
        assert!(policy(None).unwrap().is_none());
    }
}
