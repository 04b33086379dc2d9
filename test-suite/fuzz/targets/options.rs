//! `RELPOLINE_OPTIONS`, and the path of the statistics in it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use relpoline::{options, output};

fuzz_target!(|text: &[u8]| {
    let items = text.split(|&byte| byte == b':').filter(|item| !item.is_empty()).count();
    let mut errors = 0;
    let options = options::parse(text, |error| {
        assert!(text.as_ptr_range().contains(&error.item.as_ptr()) && !error.item.contains(&b':'));
        errors += 1;
    });
    assert!(errors <= items);
    if errors == items {
        assert_eq!(options, options::Options::NONE);
    }
    let Some(path) = options.stats else { return };
    for room in [0, 1, 16, 4096] {
        for name in [None, Some(path)] {
            let mut buffer = vec![0; room];
            if let Some(expanded) = output::expand_path(b"/directory", path, u32::MAX, name.as_slice(), &mut buffer) {
                assert!(expanded.count_bytes() < room);
            }
        }
    }
});
