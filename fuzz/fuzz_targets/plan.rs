//! Plans as they travel to the launcher: what is read is written as it was.
#![no_main]

use runtime::plan::{ExecPlan, Plan};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(plan) = Plan::decode(bytes) {
        assert_eq!(Plan::decode(&plan.encode()).as_ref(), Ok(&plan));
        let _ = runtime::Prepared::new(plan);
    }
    if let Ok(plan) = ExecPlan::decode(bytes) {
        assert_eq!(ExecPlan::decode(&plan.encode()).as_ref(), Ok(&plan));
        let _ = runtime::PreparedExec::new(plan);
    }
});
