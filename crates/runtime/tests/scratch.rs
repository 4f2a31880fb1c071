#![allow(missing_docs, clippy::unwrap_used)]
use runtime::caps::*; use runtime::seccomp::*; use std::time::*;
#[test] fn t() {
    let caps: CapSet = ["CHOWN","DAC_OVERRIDE","FSETID","FOWNER","MKNOD","NET_RAW","SETGID","SETUID","SETFCAP","SETPCAP","NET_BIND_SERVICE","SYS_CHROOT","KILL","AUDIT_WRITE"].iter().filter_map(|n| Capability::from_name(n)).collect();
    for arches in [vec![], vec![Arch::X86], vec![Arch::X32], vec![Arch::X86, Arch::X32]] {
        for (what, noargs) in [("all", false), ("no args", true)] {
        let mut p = default_profile(); p.architectures = Architectures::Listed(arches.clone());
        if noargs { for r in &mut p.rules { r.args.clear(); } }
        let filter = compile(&p, &CompileEnv::host(caps)).unwrap();
        let load = || { let filter = filter.clone(); std::thread::spawn(move || { let s = Instant::now(); sys::process::load_filter(&filter, 0).unwrap(); s.elapsed() }).join().unwrap() };
        let mut v: Vec<_> = (0..300).map(|_| load()).collect(); v.sort();
        println!("{arches:?} {what}: {} insns min {:?} median {:?}", filter.len(), v[0], v[150]);
        }
    }
    let f = vec![SockFilter{code:6,jt:0,jf:0,k:0x7fff0000}];
    let load = || { let filter = f.clone(); std::thread::spawn(move || { let s = Instant::now(); sys::process::load_filter(&filter, 0).unwrap(); s.elapsed() }).join().unwrap() };
    let mut v: Vec<_> = (0..300).map(|_| load()).collect(); v.sort();
    println!("one: min {:?} median {:?}", v[0], v[150]);
}
