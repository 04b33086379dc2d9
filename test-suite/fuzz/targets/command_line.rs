//! The clang wrapper's reading of response files and arguments.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relpoline_tools::{
    clang::{command_line::CommandLine, response_file::tokenize},
    options::Options,
};
use std::os::unix::ffi::OsStrExt;

fuzz_target!(|content: &[u8]| {
    let arguments = tokenize(content);
    assert!(arguments.iter().all(|argument| !argument.is_empty()));
    // With every byte escaped they come back as they are.
    let escaped = |argument: &std::ffi::OsString| {
        argument.as_bytes().iter().flat_map(|&byte| [b'\\', byte]).chain(*b"\n").collect::<Vec<u8>>()
    };
    let again = tokenize(&arguments.iter().flat_map(escaped).collect::<Vec<u8>>());
    assert_eq!(arguments, again);

    let mut options = Options::default();
    for argument in &arguments {
        let ours = options.take(argument);
        assert!(ours == Ok(false) || argument.as_bytes().starts_with(b"--relpoline-"));
    }
    let line = CommandLine::scan(&arguments);
    line.support();
    if let Some(at) = line.end_of_options {
        assert_eq!(arguments[at], "--");
    }
    assert!(!line.links() || line.inputs);
    assert!(!line.generates() || line.sources);
});
