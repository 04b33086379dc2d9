//! The tools' readers of ELF files and archives: `relpoline sites` and `relpoline audit`.

#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use relpoline_tools::{audit, elf, sites};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| -> Corpus {
    // Thin archives name further files, which are none of a fuzzer's business.
    if bytes.starts_with(b"!<thin>") {
        return Corpus::Reject;
    }
    let path = Path::new("input");
    let Ok(objects) = elf::objects(path, bytes.to_vec()) else { return Corpus::Keep };
    for object in &objects {
        if let Ok(image) = elf::Image::parse(object) {
            let _ = sites::read(&image);
        }
    }
    if let Ok(report) = audit::examine(path, &objects, &audit::AllowList::default()) {
        report.text(audit::Scope::Strict, true);
    }
    Corpus::Keep
});
