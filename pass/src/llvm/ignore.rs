//! Ignore-lists, in the format of clang's sanitizers.

use super::{c_string, raw};
use std::{
    ffi::{CStr, c_void},
    fs,
};

/// The section that is ours in a list for several tools. What stands in front of any section is for all of them.
const SECTION: &CStr = c"relpoline";

const FUNCTION: &CStr = c"fun";
const SOURCE: &CStr = c"src";

/// What lists that sanitizers share have besides.
const OF_OTHERS: [&str; 4] = ["global", "type", "mainfile", "enum"];

const EXPECTED: &str =
    "expected 'fun:NAME' or 'src:PATH'; lines for other tools belong behind a line '[their name]'";

/// A list of functions and source files, read from a file.
pub struct IgnoreList(*mut c_void);

impl IgnoreList {
    /// Reads the file.
    ///
    /// # Errors
    /// Why it cannot be read, or which line is none of ours.
    pub fn open(path: &str) -> Result<Self, String> {
        // A pipe can be read only once, and each run of the pass reads the list.
        let text = match fs::metadata(path).map(|data| data.is_file()) {
            Ok(false) => Err("it is no regular file".to_owned()),
            Ok(true) => fs::read(path).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let text = text
            .map_err(|why| format!("cannot read '{path}': {why}; name a list that can be read, or none"))?;
        if let Some((number, line)) = without_meaning(&String::from_utf8_lossy(&text)) {
            return Err(format!("'{path}', line {number}: '{line}' names nothing, {EXPECTED}"));
        }
        let path = c_string(path);
        let mut error = std::ptr::null_mut();
        let list = unsafe { raw::relpoline_shim_open_ignorelist(path.as_ptr(), &mut error) };
        if !list.is_null() {
            return Ok(Self(list));
        }
        let text = unsafe { CStr::from_ptr(error) }.to_string_lossy().into_owned();
        unsafe { llvm_sys::core::LLVMDisposeMessage(error) };
        Err(format!("{text}, {EXPECTED}"))
    }

    /// Whether a line `fun:` matches the name of a function, as it is mangled.
    pub fn names_function(&self, name: &str) -> bool {
        self.names(FUNCTION, name)
    }

    /// Whether a line `src:` matches the path of a source file, as the compiler was given it.
    pub fn names_source(&self, path: &str) -> bool {
        self.names(SOURCE, path)
    }

    fn names(&self, prefix: &CStr, name: &str) -> bool {
        let name = c_string(name);
        unsafe { raw::relpoline_shim_is_ignored(self.0, SECTION.as_ptr(), prefix.as_ptr(), name.as_ptr()) }
    }
}

/// The first line of ours with a prefix that nobody asks for, and its number. LLVM takes any prefix.
fn without_meaning(text: &str) -> Option<(usize, &str)> {
    let mut ours = true;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(sections) = line.strip_prefix('[') {
            // A pattern; what might be one of ours in other words is left alone.
            ours = sections.contains(SECTION.to_str().unwrap_or_default()) || sections == "*]";
        } else if let Some((prefix, _)) = line.split_once(':').filter(|_| ours && !line.starts_with('#'))
            && [FUNCTION, SOURCE].iter().all(|known| known.to_bytes() != prefix.as_bytes())
            && !OF_OTHERS.contains(&prefix)
        {
            return Some((index + 1, line));
        }
    }
    None
}

impl Drop for IgnoreList {
    fn drop(&mut self) {
        unsafe { raw::relpoline_shim_close_ignorelist(self.0) };
    }
}
