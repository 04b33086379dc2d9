//! Where a site's record, which [`Cell::gate`](crate::Cell::gate) leads to, holds what others than the runtime read:
//! the slow path, which is assembly, and tools that look at a running process. The runtime's `Record` has the rest,
//! and checks that it agrees.

/// Targets that a site can tell apart, and that it compares with at a time.
pub const WAYS: usize = 16;

/// Alignment of records. The lowest bits of a record's address are free for the gate's flags, and no two
/// sites share a cache line.
pub const ALIGN: usize = 256;

/// Offset of the targets seen, eight bytes each, 0 where free.
pub const TARGETS: usize = 0;

/// Offset of the calls seen with each target, four bytes each, counted up from minus the limit; one more for targets
/// that found no way free.
pub const COUNTS: usize = TARGETS + WAYS * 8;

/// Offset of the slow calls, four bytes, that a site which does not count lets pass before it asks for a decision.
pub const REST: usize = COUNTS + (WAYS + 1) * 4;

/// Offset of the limit, four bytes.
pub const LIMIT: usize = REST + 4;

/// Offset of the [`State`], a byte.
pub const STATE: usize = LIMIT + 4;

/// Offset of a bit for each way whose direct branch is open, two bytes.
pub const PLACED: usize = STATE + 2;

/// Offset of the calls, eight bytes for each count, that were taken from the counts since the record was made.
pub const TOTALS: usize = 224;

/// Bytes from the start of a record to the end of the totals.
pub const SIZE: usize = TOTALS + (WAYS + 1) * 8;

/// What a site has become.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Its calls are counted.
    Learning = 0,
    /// One target is compared with and called directly.
    Monomorphic = 1,
    /// Further targets are compared with out of line.
    Polymorphic = 2,
    /// Too many targets: every call that misses is a retpoline and nothing is counted.
    Megamorphic = 3,
    /// Every call is a retpoline.
    Off = 4,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Learning, Self::Monomorphic, Self::Polymorphic, Self::Megamorphic, Self::Off];

    /// Name in statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learning => "learning",
            Self::Monomorphic => "monomorphic",
            Self::Polymorphic => "polymorphic",
            Self::Megamorphic => "megamorphic",
            Self::Off => "off",
        }
    }

    /// The state of this number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Learning,
            1 => Self::Monomorphic,
            2 => Self::Polymorphic,
            3 => Self::Megamorphic,
            _ => Self::Off,
        }
    }
}
