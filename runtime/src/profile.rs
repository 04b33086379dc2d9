//! What was learned, as text: saved at the end of a program, read at the start of the next one.
//!
//! ```text
//! relpoline profile 1
//! object libparser.so
//! site parse_value 0 2          function, number among the sites of that name, how many these are
//! target parse_string 0         hottest first: function, distance from its start
//! target parse_number 0
//! end 4 6c62272e07bb0142        lines between the first and this one, FNV-1a of the bytes of all above
//! ```
//!
//! Sites and targets are named by functions, so that a profile holds wherever the program is loaded, and when
//! other functions have changed since. A wrong pair costs a compare and is relearned: a call is made directly
//! only when it has this very target.

use crate::output::{Out, decimal};

/// First line.
const HEADER: &[u8] = b"relpoline profile 1";

/// One line of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// What follows is of the executable or shared object whose file has this name.
    Object(&'a [u8]),
    /// A site.
    Site {
        /// The function that it was compiled in.
        function: &'a [u8],
        /// Its number among the sites of functions with that name.
        number: u64,
        /// How many these are.
        of: u64,
    },
    /// A target of the site before.
    Target {
        /// The function.
        function: &'a [u8],
        /// Distance from its start.
        offset: u64,
    },
}

/// Why a text is not a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// Line, counted from 1.
    pub line: u64,
    /// What should stand there.
    pub expected: &'static str,
}

/// Whether a profile may take the place of a file with this text: a damaged profile, one of another version and
/// nothing at all are no loss. Anything else was named by mistake.
pub fn may_be_replaced(text: &[u8]) -> bool {
    const NAME: &[u8] = b"relpoline profile ";
    text.iter().zip(NAME).all(|(found, expected)| found == expected)
}

/// The lines between header and end.
///
/// # Errors
/// Anything that [`Writer`] would not have written.
pub fn read(text: &[u8]) -> Result<impl Iterator<Item = Line<'_>> + Clone, Error> {
    let header = Error { line: 1, expected: "'relpoline profile 1'" };
    let body = text.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix(b"\n")).ok_or(header)?;
    let lines = || body.split_inclusive(|&byte| byte == b'\n');
    let mut after = None;
    let mut count = 0;
    let mut length = HEADER.len() + 1;
    for line in lines() {
        let at = |expected| Error { line: count + 2, expected };
        let whole = line.strip_suffix(b"\n").ok_or(at("a whole line"))?;
        if let Some(rest) = whole.strip_prefix(b"end ") {
            let (lines, sum) = split(rest).ok_or(at("'end LINES SUM'"))?;
            if number(lines, 10) != Some(count) || number(sum, 16) != Some(checksum(&text[..length])) {
                return Err(at("the number of lines and the checksum of what stands above"));
            }
            if length + line.len() != text.len() {
                return Err(Error { line: count + 3, expected: "nothing behind the end" });
            }
            return Ok(body[..length - HEADER.len() - 1].split(|&byte| byte == b'\n').filter_map(parse));
        }
        let line_read =
            parse(whole).ok_or(at("'object NAME', 'site FUNCTION NUMBER OF' or 'target FUNCTION OFFSET'"))?;
        match (line_read, after) {
            (Line::Site { .. }, None) => return Err(at("'object NAME' first")),
            (Line::Target { .. }, None | Some(Line::Object(_))) => {
                return Err(at("a site before its target"));
            }
            _ => after = Some(line_read),
        }
        count += 1;
        length += line.len();
    }
    Err(Error { line: count + 2, expected: "'end LINES SUM': the file was cut off" })
}

fn parse(line: &[u8]) -> Option<Line<'_>> {
    if let Some(name) = line.strip_prefix(b"object ") {
        return (!name.is_empty()).then_some(Line::Object(name));
    }
    if let Some(rest) = line.strip_prefix(b"site ") {
        let (function, rest) = split(rest)?;
        let (number_text, of) = split(rest)?;
        let (number, of) = (number(number_text, 10)?, number(of, 10)?);
        return (number < of).then_some(Line::Site { function, number, of });
    }
    let (function, offset) = split(line.strip_prefix(b"target ")?)?;
    Some(Line::Target { function, offset: number(offset, 10)? })
}

/// What stands before the first blank, and what behind it. Neither is empty.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = text.iter().position(|&byte| byte == b' ')?;
    let (first, rest) = (&text[..blank], &text[blank + 1..]);
    (!first.is_empty() && !rest.is_empty()).then_some((first, rest))
}

fn number(digits: &[u8], radix: u32) -> Option<u64> {
    digits.iter().try_fold(0u64, |sum, &digit| {
        let digit = char::from(digit).to_digit(radix)?;
        sum.checked_mul(radix.into())?.checked_add(digit.into())
    })
}

/// FNV-1a: enough to tell a file that was cut off, mixed up or edited.
pub fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(FNV_BASIS, fnv)
}

const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;

fn fnv(sum: u64, byte: &u8) -> u64 {
    (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Writes a profile.
pub struct Writer<'a> {
    out: &'a mut Out,
    sum: u64,
    lines: u64,
}

impl<'a> Writer<'a> {
    /// Begins a profile.
    pub fn new(out: &'a mut Out) -> Self {
        let mut writer = Self { out, sum: FNV_BASIS, lines: 0 };
        writer.put(HEADER).put(b"\n");
        writer
    }

    /// Writes a line. A name that would not be read back is left out; returns whether the line was written.
    pub fn line(&mut self, line: Line) -> bool {
        let is_name = |name: &[u8]| !name.is_empty() && name.iter().all(|&byte| byte > b' ');
        match line {
            Line::Object(name) => {
                if name.is_empty() || name.contains(&b'\n') {
                    return false;
                }
                self.put(b"object ").put(name)
            }
            Line::Site { function, number, of } => {
                if !is_name(function) {
                    return false;
                }
                self.put(b"site ").put(function).put(b" ").number(number).put(b" ").number(of)
            }
            Line::Target { function, offset } => {
                if !is_name(function) {
                    return false;
                }
                self.put(b"target ").put(function).put(b" ").number(offset)
            }
        };
        self.put(b"\n");
        self.lines += 1;
        true
    }

    /// Ends the profile.
    pub fn end(self) {
        let Self { out, sum, lines } = self;
        out.text("end ").number(lines).text(" ").hex(sum).text("\n");
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.sum = bytes.iter().fold(self.sum, fnv);
        self.out.bytes(bytes);
        self
    }

    fn number(&mut self, number: u64) -> &mut Self {
        let mut room = [0; 20];
        self.put(decimal(number, &mut room))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const LINES: [Line<'static>; 5] = [
        Line::Object(b"a program"),
        Line::Site { function: b"parse", number: 0, of: 2 },
        Line::Target { function: b"string", offset: 0 },
        Line::Target { function: b"number", offset: 16 },
        Line::Object(b"libx.so"),
    ];

    fn written() -> Vec<u8> {
        let mut out = Out::new(-1);
        let mut writer = Writer::new(&mut out);
        assert!(LINES.iter().all(|&line| writer.line(line)));
        assert!(!writer.line(Line::Target { function: b"operator new", offset: 0 }));
        assert!(!writer.line(Line::Object(b"a\nb")));
        writer.end();
        out.written().to_vec()
    }

    fn error(text: &[u8]) -> Error {
        read(text).map(Iterator::count).unwrap_err()
    }

    #[test]
    fn what_was_written_is_read() {
        let text = written();
        assert_eq!(read(&text).unwrap().collect::<Vec<_>>(), LINES);
    }

    #[test]
    fn every_cut_and_every_changed_bit_is_an_error() {
        let text = written();
        for length in 0..text.len() {
            error(&text[..length]);
            for bit in 0..8 {
                let mut changed = text.clone();
                changed[length] ^= 1 << bit;
                // The checksum's digits may be upper case.
                assert!(read(&changed).is_err() || changed.eq_ignore_ascii_case(&text), "{length} {bit}");
            }
        }
        let mut longer = text.clone();
        longer.push(b'x');
        error(&longer);
    }

    #[test]
    fn only_profiles_are_replaced() {
        let text = written();
        assert!((0..text.len()).all(|length| may_be_replaced(&text[..length])));
        assert!(may_be_replaced(b"relpoline profile 2\n"));
        assert!(!may_be_replaced(b"relpolines\n") && !may_be_replaced(b"\x7fELF"));
    }

    #[test]
    fn errors_name_the_line() {
        assert_eq!(error(b"").line, 1);
        assert_eq!(
            error(b"relpoline profile 1\nsite f 0 1\n"),
            Error { line: 2, expected: "'object NAME' first" }
        );
        assert_eq!(error(b"relpoline profile 1\nobject x\nsite f 1 1\n").line, 3);
    }
}
