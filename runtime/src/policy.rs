//! What follows from a site's counts. Nothing here touches code or memory.

/// Targets that a site can tell apart.
pub const WAYS: usize = 8;

/// Slow calls with one target after which a site that is learning is decided. Deciding costs a few
/// microseconds, about as much as a thousand retpolines; a site that is called less often would not earn it.
pub const LEARN_LIMIT: i32 = 64;

/// Slow calls with one target after which a promoted site is looked at again.
pub const MISS_LIMIT: i32 = 1024;

/// As [`LEARN_LIMIT`] where nothing is promoted and every call is to be counted.
pub const COUNT_LIMIT: i32 = 1 << 20;

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

/// Why a site, or one of its targets, stays on the retpoline.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No refusal.
    None = 0,
    /// The target is more than 2 GiB away: another shared object, usually.
    OutOfReach = 1,
    /// The code between compare and call could not be followed.
    NoHotBranch = 2,
    /// Bytes are not what they must be: a debugger, another patcher, or a table of other code.
    Bytes = 3,
    /// The table leads outside the image's code or data.
    Table = 4,
    /// The table was made by another version of the compiler pass.
    Version = 5,
    /// The system refused to write code.
    Write = 6,
    /// The system cannot make other cores see new code.
    Sync = 7,
    /// The system gave no memory.
    Memory = 8,
    /// The process forked while the site was being patched.
    Fork = 9,
}

impl Refusal {
    /// Text in statistics; empty for none.
    pub const fn explain(self) -> &'static str {
        match self {
            Self::None => "",
            Self::OutOfReach => "target out of reach (more than 2 GiB away)",
            Self::NoHotBranch => "code between compare and call not understood",
            Self::Bytes => "code bytes differ from what was emitted",
            Self::Table => "site table disagrees with the code",
            Self::Version => "site table of another version of the compiler pass",
            Self::Write => "writing code was refused (/proc/self/mem)",
            Self::Sync => "membarrier SYNC_CORE is not available",
            Self::Memory => "no memory",
            Self::Fork => "process forked while the site was patched",
        }
    }

    /// The refusal of this number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::OutOfReach,
            2 => Self::NoHotBranch,
            3 => Self::Bytes,
            4 => Self::Table,
            5 => Self::Version,
            6 => Self::Write,
            7 => Self::Sync,
            8 => Self::Memory,
            9 => Self::Fork,
            _ => Self::None,
        }
    }
}

/// One target of a site, as counted since the site was last decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Way of the record.
    pub way: usize,
    /// Slow calls with this target.
    pub calls: u64,
    /// The target has a direct branch already.
    pub placed: bool,
    /// A direct branch can reach the target.
    pub reachable: bool,
}

/// What to do with a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on counting.
    Wait,
    /// Give these ways a direct branch, the first one the inline branch if it is still free.
    Promote {
        /// Ways, hottest first.
        ways: [usize; WAYS],
        /// How many of them.
        count: usize,
    },
    /// Stop counting.
    Quiet {
        /// Why, unless it is simply megamorphic.
        because: Refusal,
    },
}

/// Decides on a site.
///
/// `seen` are the targets that fit into the record, `others` the calls with targets that did not.
pub fn decide(seen: &[Seen], others: u64) -> Decision {
    let total: u64 = seen.iter().map(|target| target.calls).sum::<u64>() + others;
    if total == 0 {
        return Decision::Wait;
    }
    let mut ways = [0; WAYS];
    let mut count = 0;
    let mut gained = 0;
    let mut hottest: [Option<Seen>; WAYS] = [None; WAYS];
    for (place, target) in hottest.iter_mut().zip(seen) {
        *place = Some(*target);
    }
    hottest.sort_unstable_by_key(|target| core::cmp::Reverse(target.map_or(0, |target| target.calls)));
    for target in hottest.iter().flatten() {
        // A target seen once in a hundred calls is not worth a compare in front of all that come after it.
        if target.reachable && !target.placed && target.calls * 100 > total {
            ways[count] = target.way;
            count += 1;
            gained += target.calls;
        }
    }
    if count > 0 && gained * 4 >= total {
        return Decision::Promote { ways, count };
    }
    // Calls with a placed target miss only in the moments after it was placed.
    let placed: u64 = seen.iter().filter(|target| target.placed).map(|target| target.calls).sum();
    if placed * 2 > total {
        return Decision::Wait;
    }
    let far: u64 = seen.iter().filter(|target| !target.reachable).map(|target| target.calls).sum();
    Decision::Quiet { because: if far * 2 > total { Refusal::OutOfReach } else { Refusal::None } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(way: usize, calls: u64) -> Seen {
        Seen { way, calls, placed: false, reachable: true }
    }

    fn promoted(decision: Decision) -> std::vec::Vec<usize> {
        match decision {
            Decision::Promote { ways, count } => ways[..count].to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_target_is_promoted() {
        assert_eq!(promoted(decide(&[seen(0, 64)], 0)), [0]);
    }

    #[test]
    fn targets_are_ordered_by_heat_and_rare_ones_left_out() {
        assert_eq!(promoted(decide(&[seen(0, 30), seen(1, 64), seen(2, 1)], 10)), [1, 0]);
    }

    #[test]
    fn too_many_targets_are_megamorphic() {
        let eight: std::vec::Vec<Seen> = (0..WAYS).map(|way| seen(way, 5)).collect();
        assert_eq!(decide(&eight, 1000), Decision::Quiet { because: Refusal::None });
    }

    #[test]
    fn far_targets_are_named_as_the_reason() {
        let far = Seen { reachable: false, ..seen(0, 64) };
        assert_eq!(decide(&[far], 0), Decision::Quiet { because: Refusal::OutOfReach });
        assert_eq!(promoted(decide(&[far, seen(1, 60)], 0)), [1]);
    }

    #[test]
    fn late_calls_of_a_placed_target_change_nothing() {
        assert_eq!(decide(&[Seen { placed: true, ..seen(0, 64) }], 3), Decision::Wait);
        assert_eq!(decide(&[], 0), Decision::Wait);
    }
}
