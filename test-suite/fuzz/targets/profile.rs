//! Profiles: what is read is well-formed, and what is not is an error that names a line.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relpoline::profile::{self, Line};

fuzz_target!(|input: &[u8]| {
    // As it is, and as the lines of a profile whose end is right: else hardly any input gets past the checksum.
    check(input);
    let mut text = [b"relpoline profile 1\n", input].concat();
    if !text.ends_with(b"\n") {
        text.push(b'\n');
    }
    let lines = text.iter().filter(|&&byte| byte == b'\n').count() - 1;
    text.extend(format!("end {lines} {:x}\n", profile::checksum(&text)).into_bytes());
    check(&text);
});

fn check(text: &[u8]) {
    match profile::read(text) {
        Ok(lines) => {
            let mut has_site = false;
            for line in lines {
                match line {
                    Line::Object(name) => {
                        assert!(!name.is_empty());
                        has_site = false;
                    }
                    Line::Site { function, number, of } => {
                        assert!(!function.is_empty() && number < of);
                        has_site = true;
                    }
                    Line::Target { function, .. } => assert!(!function.is_empty() && has_site),
                }
            }
        }
        Err(error) => assert!(error.line > 0 && !error.expected.is_empty()),
    }
}
