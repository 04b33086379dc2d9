//! Names as the source has them.

use relpoline_layout::source_name;
use std::fmt;

/// Longest name that is written out. A mangled name of some hundred bytes may stand for one of any length.
const LONGEST: usize = 1 << 16;

/// What has room for a name and no more.
struct Bounded(String);

impl cpp_demangle::DemangleWrite for Bounded {
    fn write_string(&mut self, text: &str) -> fmt::Result {
        if text.len() > LONGEST - self.0.len() {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The name that the source gives a symbol, demangled.
pub fn demangle(symbol: &str) -> String {
    let name = &symbol[..source_name(symbol.as_bytes()).len()];
    if let Ok(rust) = rustc_demangle::try_demangle(name) {
        return format!("{rust:#}");
    }
    let mut text = Bounded(String::new());
    if name.starts_with("_Z")
        && let Ok(symbol) = cpp_demangle::Symbol::new(name)
        && symbol.structured_demangle(&mut text, &Default::default()).is_ok()
    {
        return text.0;
    }
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rust_cxx_and_c() {
        assert_eq!(demangle("_ZN3std2io5stdio6_print17h0123456789abcdefE"), "std::io::stdio::_print");
        assert_eq!(demangle("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(demangle("_ZN3foo3barEi"), "foo::bar(int)");
        assert_eq!(demangle("main"), "main");
        assert_eq!(demangle("_ZL3bari.llvm.42"), "bar(int)");
        assert_eq!(demangle("bar.llvm.42"), "bar");
        assert_eq!(demangle("bar.llvm."), "bar.llvm.");
        assert_eq!(demangle("_Zrubbish"), "_Zrubbish");
    }

    #[test]
    fn what_would_never_end_stays_mangled() {
        // Each type is a template of the one before it, thirty times.
        let level = |at: usize| format!("S_I{}E", format!("S{at}_").repeat(30));
        let endless = format!("_Z1f1AIiiE{}", (0..10).map(level).collect::<String>());
        assert_eq!(demangle(&endless), endless);
    }
}
