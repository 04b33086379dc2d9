//! `RELPOLINE_OPTIONS="key=value:key=value"`. One table holds the options; the help text and the report of an
//! unknown one come from it.

/// What the runtime is to do.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Learn and patch.
    On = 0,
    /// Every call that was converted is a retpoline.
    Off = 1,
    /// Learn, count every call, and patch nothing.
    Count = 2,
    /// Use what was learned, and patch nothing more.
    Freeze = 3,
}

impl Mode {
    /// Name in options and statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
            Self::Count => "count",
            Self::Freeze => "freeze",
        }
    }

    /// The mode of this number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::On,
            2 => Self::Count,
            3 => Self::Freeze,
            _ => Self::Off,
        }
    }
}

/// The options of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a> {
    /// `mode`
    pub mode: Mode,
    /// `stats`: where statistics are written at exit.
    pub stats: Option<&'a [u8]>,
    /// `profile`: where what was learned is read at start and written at exit.
    pub profile: Option<&'a [u8]>,
    /// `never`: functions whose calls stay retpolines.
    pub never: Option<&'a [u8]>,
    /// `never_object`: executables and shared objects whose calls stay retpolines.
    pub never_object: Option<&'a [u8]>,
    /// `help`
    pub help: bool,
    /// `verbose`: refusals are reported at exit.
    pub verbose: bool,
}

impl Options<'_> {
    /// What holds when nothing is said.
    pub const NONE: Self = Self {
        mode: Mode::On,
        stats: None,
        profile: None,
        never: None,
        never_object: None,
        help: false,
        verbose: false,
    };
}

/// Name, values and meaning of every option.
pub const TABLE: [(&str, &str, &str); 7] = [
    (
        "mode",
        "on|off|count|freeze",
        "learn and patch; stay on retpolines; count every call and patch nothing; use a profile and patch nothing more",
    ),
    ("stats", "FILE", "write statistics (JSON) to FILE at exit; %p is the process id"),
    ("profile", "FILE", "start with the targets that FILE names, and save what was learned to it at exit"),
    ("never", "NAME,...", "calls in functions of these names stay retpolines; * stands for anything"),
    ("never_object", "NAME,...", "likewise for executables and shared objects (file names without folders)"),
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
    let mut options = Options::NONE;
    for item in text.split(|&byte| byte == b':').filter(|item| !item.is_empty()) {
        let split = item.iter().position(|&byte| byte == b'=');
        let (key, value) = split.map_or((item, &b""[..]), |at| (&item[..at], &item[at + 1..]));
        let known = TABLE.iter().find(|(name, ..)| name.as_bytes() == key);
        let understood = match (key, value) {
            (b"mode", b"on") => set(&mut options.mode, Mode::On),
            (b"mode", b"off") => set(&mut options.mode, Mode::Off),
            (b"mode", b"count") => set(&mut options.mode, Mode::Count),
            (b"mode", b"freeze") => set(&mut options.mode, Mode::Freeze),
            (b"stats", file) if !file.is_empty() => set(&mut options.stats, Some(file)),
            (b"profile", file) if !file.is_empty() => set(&mut options.profile, Some(file)),
            (b"never", names) if !names.is_empty() => set(&mut options.never, Some(names)),
            (b"never_object", names) if !names.is_empty() => set(&mut options.never_object, Some(names)),
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

/// Whether `name` is one of `patterns`, which are separated by commas.
pub fn is_named(patterns: &[u8], name: &[u8]) -> bool {
    patterns.split(|&byte| byte == b',').any(|pattern| matches(pattern, name))
}

/// Whether `pattern`, in which `*` stands for anything, describes all of `name`.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut pieces = pattern.split(|&byte| byte == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let Some(at) = rest.windows(piece.len()).position(|window| window == piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn a_star_stands_for_anything() {
        let yes: [(&str, &str); 7] = [
            ("abc", "abc"),
            ("*", ""),
            ("a*", "abc"),
            ("*c", "abc"),
            ("a*c", "abc"),
            ("a*b*c", "axbxc"),
            ("**", "x"),
        ];
        assert!(yes.iter().all(|(pattern, name)| matches(pattern.as_bytes(), name.as_bytes())));
        let no = [("ab", "abc"), ("", "a"), ("b*", "abc"), ("*b", "abc"), ("ab*bc", "abc"), ("a*x*c", "abc")];
        assert!(no.iter().all(|(pattern, name)| !matches(pattern.as_bytes(), name.as_bytes())));
        assert!(is_named(b"x,a*", b"abc") && !is_named(b"x,b*", b"abc"));
    }

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
        assert_eq!(options, Options::NONE);
        assert_eq!(errors.len(), 3);
        assert_eq!(errors[0].expected, Some("on|off|count|freeze"));
        assert_eq!((errors[1].item, errors[1].expected), (&b"colour=red"[..], None));
    }
}
