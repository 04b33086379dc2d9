//! `RELPOLINE_OPTIONS="key=value:key=value"`. One table holds the options; the help text and the report of an
//! unknown one come from it.

/// What the runtime is to do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Learn and patch.
    #[default]
    On,
    /// Every call that was converted is a retpoline.
    Off,
    /// Learn, count every call, and patch nothing.
    Count,
}

impl Mode {
    /// Name in options and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Count => "count",
        }
    }
}

/// The options of one process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options<'a> {
    /// `mode`
    pub mode: Mode,
    /// `stats`: where statistics are written at exit.
    pub stats: Option<&'a [u8]>,
    /// `help`
    pub help: bool,
    /// `verbose`: refusals are reported at exit.
    pub verbose: bool,
}

/// Name, values and meaning of every option.
pub const TABLE: [(&str, &str, &str); 4] = [
    ("mode", "on|off|count", "learn and patch; stay on retpolines; count every call and patch nothing"),
    ("stats", "FILE", "write statistics (JSON) to FILE at exit; %p is the process id"),
    ("verbose", "0|1", "say at exit on standard error why sites were not patched"),
    ("help", "0|1", "print this table on standard error at start"),
];

/// An option that was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error<'a> {
    /// The text between two colons.
    pub item: &'a [u8],
    /// Values that the key takes, if the key is known.
    pub expected: Option<&'static str>,
}

/// Reads options. What is not understood is passed to `report` and has no effect.
pub fn parse<'a>(text: &'a [u8], mut report: impl FnMut(Error<'a>)) -> Options<'a> {
    let mut options = Options::default();
    for item in text.split(|&byte| byte == b':').filter(|item| !item.is_empty()) {
        let split = item.iter().position(|&byte| byte == b'=');
        let (key, value) = split.map_or((item, &b""[..]), |at| (&item[..at], &item[at + 1..]));
        let known = TABLE.iter().find(|(name, ..)| name.as_bytes() == key);
        let understood = match (key, value) {
            (b"mode", b"on") => set(&mut options.mode, Mode::On),
            (b"mode", b"off") => set(&mut options.mode, Mode::Off),
            (b"mode", b"count") => set(&mut options.mode, Mode::Count),
            (b"stats", file) if !file.is_empty() => set(&mut options.stats, Some(file)),
            (b"help", b"0" | b"1") => set(&mut options.help, value == b"1"),
            (b"verbose", b"0" | b"1") => set(&mut options.verbose, value == b"1"),
            _ => false,
        };
        if !understood {
            report(Error { item, expected: known.map(|&(_, values, _)| values) });
        }
    }
    options
}

fn set<T>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(text: &str) -> (Options<'_>, Vec<Error<'_>>) {
        let mut errors = Vec::new();
        let options = parse(text.as_bytes(), |error| errors.push(error));
        (options, errors)
    }

    #[test]
    fn known_options_are_read() {
        let (options, errors) = read("mode=count:stats=/tmp/x.%p.json::verbose=1");
        assert_eq!(options.mode, Mode::Count);
        assert_eq!(options.stats, Some(&b"/tmp/x.%p.json"[..]));
        assert!(options.verbose && !options.help && errors.is_empty());
    }

    #[test]
    fn what_is_not_understood_is_reported_and_has_no_effect() {
        let (options, errors) = read("mode=maybe:colour=red:stats=");
        assert_eq!(options, Options::default());
        assert_eq!(errors.len(), 3);
        assert_eq!(errors[0].expected, Some("on|off|count"));
        assert_eq!((errors[1].item, errors[1].expected), (&b"colour=red"[..], None));
    }
}
