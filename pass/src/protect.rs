//! Retpolines for everything that is not a relpoline, by attributes of the functions themselves: no flag of
//! the command line is needed, and none can be forgotten at link time.

use crate::llvm::{Function, Module};

const FEATURES: &str = "target-features";

/// Indirect calls and jumps become retpolines when code is generated; jump tables become compares.
const RETPOLINE: [&str; 2] = ["+retpoline-indirect-calls", "+retpoline-indirect-branches"];

/// What replaces indirect branches by something else, and so would undo [`RETPOLINE`].
const RIVAL: &str = "+lvi-cfi";

/// Protects the functions of the module.
pub fn protect(module: &Module, functions: &[Function]) {
    for function in functions {
        let old = function.string_attribute(FEATURES).unwrap_or_default();
        let mut features: Vec<&str> = old.split(',').filter(|feature| !feature.is_empty()).collect();
        let before = features.len();
        if features.contains(&RIVAL) {
            module.error(&format!(
                "relpoline: function '{}' is compiled with -mlvi-cfi (or what implies it), which cannot be combined with \
                 retpolines; add -mno-lvi-cfi, or leave out relpolines (RELPOLINE_DISABLE=1)",
                function.name()
            ));
            return;
        }
        for feature in RETPOLINE {
            if !features.contains(&feature) {
                features.push(feature);
            }
        }
        if features.len() != before {
            function.set_string_attribute(FEATURES, &features.join(","));
        }
    }
    // A call through the GOT is a direct call here and an indirect branch in the binary, where each would
    // become a retpoline. Through the PLT it is direct, and within one link it needs neither.
    for function in module.functions() {
        function.remove_attribute("nonlazybind");
    }
    module.drop_flag(c"RtLibUseGOT");
}
