//! `RELPOLINE_OPTIONS="key=value:key=value"`. [`TABLE`] is the only list of the options: parsing, help and error
//! messages all come from it.

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

    fn of_name(name: &[u8]) -> Option<Self> {
        let all = [Self::On, Self::Off, Self::Count, Self::Freeze];
        all.into_iter().find(|mode| mode.name().as_bytes() == name)
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

/// One option.
pub struct Spec {
    key: Key,
    /// What stands in front of `=`.
    pub name: &'static str,
    /// What it takes.
    pub values: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// A number for each row, and not a function: the runtime has no indirect call of its own.
#[derive(Clone, Copy)]
enum Key {
    Mode,
    Stats,
    Profile,
    Never,
    NeverObject,
    Verbose,
    Help,
}

/// Every option.
pub const TABLE: [Spec; 7] = [
    Spec {
        key: Key::Mode,
        name: "mode",
        values: "on|off|count|freeze",
        meaning: "learn and patch; stay on retpolines; count every call and patch nothing; use a profile and patch \
                  nothing more",
    },
    Spec {
        key: Key::Stats,
        name: "stats",
        values: "FILE",
        meaning: "write statistics (JSON) to FILE at exit; %p is the process id",
    },
    Spec {
        key: Key::Profile,
        name: "profile",
        values: "FILE",
        meaning: "start with the targets that FILE names, and save what was learned to it at exit",
    },
    Spec {
        key: Key::Never,
        name: "never",
        values: "NAME,...",
        meaning: "calls in functions of these names stay retpolines; * stands for anything",
    },
    Spec {
        key: Key::NeverObject,
        name: "never_object",
        values: "NAME,...",
        meaning: "likewise for executables and shared objects (file names without folders)",
    },
    Spec {
        key: Key::Verbose,
        name: "verbose",
        values: "0|1",
        meaning: "say at exit on standard error why sites were not patched",
    },
    Spec {
        key: Key::Help,
        name: "help",
        values: "0|1",
        meaning: "print this table on standard error at start",
    },
];

/// What is wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error<'a> {
    /// The text between two colons.
    pub item: &'a [u8],
    /// What is wrong with it.
    pub fault: Fault,
}

/// What can be wrong with an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no such option.
    Unknown,
    /// Nothing is behind the name; these are the values that it takes.
    NoValue(&'static str),
    /// It does not take the value, but these.
    Value(&'static str),
    /// A list that was given before. Only this one holds.
    Again,
}

/// Reads options. What is not understood is passed to `report` and has no effect. The last of several values holds, so
/// that one can be appended; for a list, of which somebody may expect the sum, `report` is called.
pub fn parse<'a>(text: &'a [u8], mut report: impl FnMut(Error<'a>)) -> Options<'a> {
    let mut options = Options::NONE;
    for item in text.split(|&byte| byte == b':').filter(|item| !item.is_empty()) {
        let split = item.iter().position(|&byte| byte == b'=');
        let (name, value) = split.map_or((item, &b""[..]), |at| (&item[..at], &item[at + 1..]));
        let result = match TABLE.iter().find(|spec| spec.name.as_bytes() == name) {
            None => Err(Fault::Unknown),
            Some(spec) if value.is_empty() => Err(Fault::NoValue(spec.values)),
            Some(spec) => options.set(spec, value),
        };
        if let Err(fault) = result {
            report(Error { item, fault });
        }
    }
    options
}

impl<'a> Options<'a> {
    fn set(&mut self, spec: &Spec, value: &'a [u8]) -> Result<(), Fault> {
        let wrong = Fault::Value(spec.values);
        match spec.key {
            Key::Mode => self.mode = Mode::of_name(value).ok_or(wrong)?,
            Key::Stats => self.stats = Some(value),
            Key::Profile => self.profile = Some(value),
            Key::Never => return set_list(&mut self.never, value),
            Key::NeverObject => return set_list(&mut self.never_object, value),
            Key::Verbose => self.verbose = switch(value).ok_or(wrong)?,
            Key::Help => self.help = switch(value).ok_or(wrong)?,
        }
        Ok(())
    }
}

fn set_list<'a>(list: &mut Option<&'a [u8]>, value: &'a [u8]) -> Result<(), Fault> {
    if list.replace(value).is_some() { Err(Fault::Again) } else { Ok(()) }
}

fn switch(value: &[u8]) -> Option<bool> {
    match value {
        b"0" => Some(false),
        b"1" => Some(true),
        _ => None,
    }
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
        let (options, errors) = read("mode=maybe:colour=red:stats=:mode:verbose=2");
        assert_eq!(options, Options::NONE);
        let modes = "on|off|count|freeze";
        let expected: [(&str, Fault); 5] = [
            ("mode=maybe", Fault::Value(modes)),
            ("colour=red", Fault::Unknown),
            ("stats=", Fault::NoValue("FILE")),
            ("mode", Fault::NoValue(modes)),
            ("verbose=2", Fault::Value("0|1")),
        ];
        assert_eq!(errors, expected.map(|(item, fault)| Error { item: item.as_bytes(), fault }));
    }

    #[test]
    fn a_second_list_is_reported_and_a_second_value_holds() {
        let (options, errors) = read("never=a,b:mode=off:never_object=x:mode=count:never=c:never_object=y");
        let again = |item: &'static str| Error { item: item.as_bytes(), fault: Fault::Again };
        assert_eq!(errors, [again("never=c"), again("never_object=y")]);
        assert_eq!((options.never, options.never_object), (Some(&b"c"[..]), Some(&b"y"[..])));
        assert_eq!(options.mode, Mode::Count);
    }

    #[test]
    fn every_row_is_an_option() {
        for spec in TABLE {
            let value = spec.values.split('|').next().unwrap();
            let text = std::format!("{}={value}", spec.name);
            assert_eq!(read(&text).1, [], "{text}");
        }
    }
}
