//! Lengths and branch targets of x86-64 instructions: what it takes to follow a call site's code from its
//! compare to its call. It is a few tables instead of a disassembler because it runs inside every program,
//! and a disassembler's tables of functions are indirect calls. Encodings: Intel SDM volume 2, chapter 2 and
//! appendix A. The tests compare it with a disassembler.

/// The longest instruction, in bytes.
pub const MAX_LENGTH: usize = 15;

/// How an instruction passes control on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// `call rel32`, to this distance from the next instruction.
    Call(i32),
    /// `jmp rel8` or `jmp rel32`, likewise.
    Jump(i32),
    /// A conditional jump, likewise.
    Branch(i32),
    /// Elsewhere: a return, an indirect branch, a trap.
    Leaves,
}

/// An instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Bytes.
    pub length: usize,
    /// Where it leads.
    pub flow: Flow,
}

/// Reads the instruction at the start of `code`. `None`: not known here, not valid, or cut short.
pub fn decode(code: &[u8]) -> Option<Instruction> {
    Reader { code, at: 0 }.instruction()
}

/// What follows an opcode.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operands {
    None,
    Imm8,
    /// Four bytes, or two under an operand-size prefix.
    Imm,
    ModRm,
    ModRmImm8,
    ModRmImm,
}

struct Reader<'a> {
    code: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.code.get(self.at)?;
        self.at += 1;
        (self.at <= MAX_LENGTH).then_some(byte)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.at += count;
        (self.at <= self.code.len() && self.at <= MAX_LENGTH).then_some(())
    }

    fn rel8(&mut self) -> Option<i32> {
        Some(i32::from(self.byte()? as i8))
    }

    fn rel32(&mut self) -> Option<i32> {
        let bytes = self.code.get(self.at..self.at + 4)?;
        self.skip(4)?;
        Some(i32::from_le_bytes(bytes.try_into().ok()?))
    }

    fn instruction(mut self) -> Option<Instruction> {
        let (mut narrow, mut short_address, mut wide) = (false, false, false);
        let mut opcode = self.byte()?;
        loop {
            match opcode {
                0x66 => narrow = true,
                0x67 => short_address = true,
                0x2e | 0x36 | 0x3e | 0x26 | 0x64 | 0x65 | 0xf0 | 0xf2 | 0xf3 => {}
                _ => break,
            }
            opcode = self.byte()?;
        }
        if opcode & 0xf0 == 0x40 {
            wide = opcode & 8 != 0;
            opcode = self.byte()?;
        }
        let flow = match opcode {
            0x0f => self.two_byte(narrow && !wide)?,
            0xc4 | 0xc5 | 0x62 => self.vector(opcode)?,
            // moffs: an address of full size.
            0xa0..=0xa3 => {
                self.skip(if short_address { 4 } else { 8 })?;
                Flow::Next
            }
            0xb8..=0xbf if wide => {
                self.skip(8)?;
                Flow::Next
            }
            0x70..=0x7f | 0xe0..=0xe3 => Flow::Branch(self.rel8()?),
            0xeb => Flow::Jump(self.rel8()?),
            // The operand-size prefix on a near branch means different things to different makers.
            0xe8 | 0xe9 if narrow => return None,
            0xe8 => Flow::Call(self.rel32()?),
            0xe9 => Flow::Jump(self.rel32()?),
            0xc2 | 0xca => {
                self.skip(2)?;
                Flow::Leaves
            }
            0xc8 => {
                self.skip(3)?;
                Flow::Next
            }
            0xc3 | 0xcb | 0xcc | 0xce | 0xcf | 0xf1 => Flow::Leaves,
            0xcd => {
                self.skip(1)?;
                Flow::Leaves
            }
            0xf6 | 0xf7 => {
                // Only TEST, the first two of the group, has an immediate.
                let has_immediate = self.code.get(self.at)? & 0x30 == 0;
                self.operands(
                    match (has_immediate, opcode) {
                        (false, _) => Operands::ModRm,
                        (true, 0xf6) => Operands::ModRmImm8,
                        (true, _) => Operands::ModRmImm,
                    },
                    narrow && !wide,
                )?;
                Flow::Next
            }
            0xff => {
                // Calls and jumps through a register or memory.
                let group = self.code.get(self.at)? >> 3 & 7;
                self.operands(Operands::ModRm, narrow)?;
                match group {
                    2 | 3 => Flow::Next,
                    4 | 5 => Flow::Leaves,
                    7 => return None,
                    _ => Flow::Next,
                }
            }
            _ => {
                self.operands(one_byte(opcode)?, narrow && !wide)?;
                Flow::Next
            }
        };
        Some(Instruction { length: self.at, flow })
    }

    fn two_byte(&mut self, narrow: bool) -> Option<Flow> {
        let opcode = self.byte()?;
        let operands = match opcode {
            0x80..=0x8f if narrow => return None,
            0x80..=0x8f => return Some(Flow::Branch(self.rel32()?)),
            0x05 => return Some(Flow::Next),
            0x0b => return Some(Flow::Leaves),
            0x38 => {
                self.byte()?;
                Operands::ModRm
            }
            0x3a => {
                self.byte()?;
                Operands::ModRmImm8
            }
            0x31 | 0x77 | 0xa0..=0xa2 | 0xa8 | 0xa9 | 0xc8..=0xcf => Operands::None,
            0x0f | 0x70..=0x73 | 0xa4 | 0xac | 0xba | 0xc2 | 0xc4..=0xc6 => Operands::ModRmImm8,
            // The groups of system instructions (0x00 and 0x01 among them) are left out.
            0x0d
            | 0x10..=0x1f
            | 0x28..=0x2f
            | 0x40..=0x6f
            | 0x74..=0x76
            | 0x7c..=0x7f
            | 0x90..=0x9f
            | 0xa3
            | 0xa5
            | 0xab
            | 0xad..=0xb8
            | 0xbb..=0xc1
            | 0xc3
            | 0xc7
            | 0xd0..=0xfe => Operands::ModRm,
            _ => return None,
        };
        self.operands(operands, narrow)?;
        Some(Flow::Next)
    }

    /// VEX and EVEX prefixes: the opcode map is in the prefix, and nearly every opcode has a ModR/M byte.
    fn vector(&mut self, prefix: u8) -> Option<Flow> {
        let map = match prefix {
            0xc5 => {
                self.skip(1)?;
                1
            }
            0xc4 => {
                let map = self.byte()? & 0x1f;
                self.skip(1)?;
                map
            }
            _ => {
                let map = self.byte()? & 7;
                self.skip(2)?;
                map
            }
        };
        let opcode = self.byte()?;
        let operands = match (map, opcode) {
            (1, 0x77) if prefix != 0x62 => Operands::None,
            (1, 0x70..=0x73 | 0xc2 | 0xc4..=0xc6) | (3, _) => Operands::ModRmImm8,
            (1 | 2 | 5 | 6, _) => Operands::ModRm,
            _ => return None,
        };
        self.operands(operands, false)?;
        Some(Flow::Next)
    }

    fn operands(&mut self, operands: Operands, narrow: bool) -> Option<()> {
        let immediate = if narrow { 2 } else { 4 };
        match operands {
            Operands::None => Some(()),
            Operands::Imm8 => self.skip(1),
            Operands::Imm => self.skip(immediate),
            Operands::ModRm => self.mod_rm(),
            Operands::ModRmImm8 => self.mod_rm().and_then(|()| self.skip(1)),
            Operands::ModRmImm => self.mod_rm().and_then(|()| self.skip(immediate)),
        }
    }

    fn mod_rm(&mut self) -> Option<()> {
        let byte = self.byte()?;
        let (mode, base) = (byte >> 6, byte & 7);
        if mode == 3 {
            return Some(());
        }
        let base = if base == 4 { self.byte()? & 7 | 8 } else { base };
        match (mode, base) {
            // rip-relative, or a scaled index without base
            (0, 5) | (0, 13) => self.skip(4),
            (0, _) => Some(()),
            (1, _) => self.skip(1),
            _ => self.skip(4),
        }
    }
}

fn one_byte(opcode: u8) -> Option<Operands> {
    Some(match opcode {
        0x00..=0x3f => match opcode & 7 {
            0..=3 => Operands::ModRm,
            4 => Operands::Imm8,
            5 => Operands::Imm,
            _ => return None,
        },
        0x50..=0x5f | 0x6c..=0x6f | 0x90..=0x99 | 0x9b..=0x9f | 0xa4..=0xa7 | 0xaa..=0xaf | 0xc9 | 0xd7 => {
            Operands::None
        }
        0xec..=0xef | 0xf5 | 0xf8..=0xfd => Operands::None,
        0x63 | 0x84..=0x8e | 0xd0..=0xd3 | 0xd8..=0xdf | 0xfe => Operands::ModRm,
        // pop; with other bits in the register field this is AMD's XOP prefix, which nothing emits.
        0x8f => return None,
        0x68 | 0xa9 => Operands::Imm,
        0x69 | 0x81 | 0xc7 => Operands::ModRmImm,
        0x6a | 0xa8 | 0xb0..=0xb7 | 0xe4..=0xe7 => Operands::Imm8,
        0x6b | 0x80 | 0x83 | 0xc0 | 0xc1 | 0xc6 => Operands::ModRmImm8,
        0xb8..=0xbf => Operands::Imm,
        _ => return None,
    })
}

#[cfg(test)]
mod referee;

#[cfg(test)]
mod tests {
    use super::referee::check;
    use super::*;

    /// A reproducible sequence (xorshift64*): failures must come back.
    struct Random(u64);
    impl Random {
        fn next(&mut self) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
        }
    }

    #[test]
    fn agrees_with_a_disassembler_on_every_opcode() {
        let mut random = Random(1);
        let mut checked = 0;
        let prefixes: [&[u8]; 8] =
            [&[], &[0x66], &[0xf3], &[0xf2], &[0x48], &[0x66, 0x48], &[0x41], &[0x64, 0x66, 0x4d]];
        let maps: [&[u8]; 4] = [&[], &[0x0f], &[0x0f, 0x38], &[0x0f, 0x3a]];
        for prefix in prefixes {
            for map in maps {
                for opcode in 0..=255u8 {
                    for _ in 0..64 {
                        let mut code = std::vec::Vec::from(prefix);
                        code.extend_from_slice(map);
                        code.push(opcode);
                        code.extend_from_slice(&random.next().to_le_bytes());
                        code.extend_from_slice(&random.next().to_le_bytes());
                        code.truncate(MAX_LENGTH);
                        checked += usize::from(check(&code));
                    }
                }
            }
        }
        assert!(checked > 200_000, "only {checked} instructions were valid");
    }

    #[test]
    fn agrees_with_a_disassembler_on_random_vector_code() {
        let mut random = Random(2);
        let mut checked = 0;
        for _ in 0..400_000 {
            let mut code = std::vec::Vec::from([[0xc4, 0xc5, 0x62][(random.next() % 3) as usize]]);
            code.extend_from_slice(&random.next().to_le_bytes());
            code.extend_from_slice(&random.next().to_le_bytes());
            code.truncate(MAX_LENGTH);
            checked += usize::from(check(&code));
        }
        assert!(checked > 10_000, "only {checked} instructions were valid");
    }

    #[test]
    fn cut_short_is_not_an_instruction() {
        for code in [&[][..], &[0xe8, 1, 2, 3], &[0x48], &[0x0f], &[0x66; 15], &[0x4c, 0x3b, 0x15, 0, 0, 0]] {
            assert_eq!(decode(code), None, "{code:02x?}");
        }
    }
}
