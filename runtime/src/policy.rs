//! What follows from a site's counts. Nothing here touches code or memory.

use crate::layout::record::{State, WAYS};

/// Slow calls with one target after which a site that is learning is decided. Deciding costs a few
/// microseconds, about as much as a thousand retpolines; a site that is called less often would not earn it.
pub const LEARN_LIMIT: i32 = 64;

/// Slow calls with one target after which a promoted site is looked at again.
pub const MISS_LIMIT: i32 = 1024;

/// Slow calls that a site lets pass uncounted before it learns anew: the first time, and doubled from time to
/// time by [`Pace::rest`]. Learning is then a hundredth of what the calls cost anyway.
const REST: i32 = 1 << 16;

/// What part of the coming rest is counted before it is decided what to do during it. A pattern that takes longer than
/// that has its targets hot one after the other, and is followed.
const SURVEY: i32 = REST / 32;

/// How often a rest is doubled at most.
const LONGEST_REST: u8 = 14;

/// A rest that took this many ticks of the processor's clock, about a second, was no burden: the next one is
/// short again.
const LONG_AGO: u64 = 1 << 32;

/// What a compare costs every call that comes to it, as a share of what it saves the calls that it catches: a
/// twentieth of a retpoline (measured by `ci/bench targets`). A target that is not this share of the calls that
/// come so far is not worth its compare.
const WORTH: u64 = 20;

/// A rest that never ends, or as good as.
pub const FOR_EVER: i32 = i32::MAX;

/// Calls after which a decision is tried again that could not be made because another thread was at work.
pub const RETRY: i32 = 1024;

/// As [`LEARN_LIMIT`] where nothing is promoted and every call is to be counted.
pub const COUNT_LIMIT: i32 = 1 << 20;

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
    /// The chain cannot take further targets.
    Full = 10,
    /// The process has too many files open.
    Descriptors = 11,
    /// The target is generated code, which may go at any time.
    Fleeting = 12,
    /// Somebody else closed or took the descriptor that code is written through, again and again. Nothing was
    /// written.
    Stolen = 13,
    /// Somebody has a copy of the code and may run it in its place, as it was. Nothing was written.
    Probed = 14,
    /// The branch lies across two pages, and the system may undo what was written to one of them.
    Split = 15,
}

impl Refusal {
    /// Whether the site is given up. Other targets may be within reach, and files are closed; the code will not
    /// change.
    pub const fn is_final(self) -> bool {
        !matches!(
            self,
            Self::None
                | Self::OutOfReach
                | Self::Full
                | Self::Descriptors
                | Self::Fleeting
                | Self::Stolen
                | Self::Split
        )
    }

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
            Self::Full => "more targets in turn than a chain can take",
            Self::Descriptors => "too many open files (ulimit -n)",
            Self::Fleeting => "target is code that may go at any time",
            Self::Stolen => "another thread closed the runtime's descriptor",
            Self::Probed => "a kprobe is registered on the branch",
            Self::Split => "branch lies across two pages",
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
            10 => Self::Full,
            11 => Self::Descriptors,
            12 => Self::Fleeting,
            13 => Self::Stolen,
            14 => Self::Probed,
            15 => Self::Split,
            _ => Self::None,
        }
    }
}

/// One target of a site, as counted since the site was last decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Way of the record.
    pub way: u8,
    /// Slow calls with this target.
    pub calls: u32,
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
        ways: [u8; WAYS],
        /// How many of them.
        count: usize,
    },
    /// Stop counting.
    Quiet {
        /// Why, unless it is simply megamorphic.
        because: Refusal,
    },
}

/// How often a site rested lately.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// Rests that followed each other closely.
    pub rests: u8,
    /// Processor's clock when the last rest began.
    pub rested_at: u64,
}

impl Pace {
    /// Begins a rest, at `now` on the processor's clock; returns its length in slow calls. Rests that follow each
    /// other closely double, so that a site whose targets change all the time is hardly ever looked at.
    pub fn rest(&mut self, now: u64) -> i32 {
        let closely = now.wrapping_sub(self.rested_at) < LONG_AGO;
        self.rests = if closely && self.rested_at != 0 { (self.rests + 1).min(LONGEST_REST) } else { 0 };
        self.rested_at = now;
        REST << self.rests
    }

    /// Slow calls with one target after which a site that is surveyed is decided.
    pub const fn survey(&self) -> i32 {
        SURVEY << self.rests
    }
}

/// What the choice of a site's open branches rests on.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// A few calls, and what missed since.
    Glance = 0,
    /// Many calls, counted while all branches were closed.
    Survey = 1,
    /// That, but branches were added since.
    Outgrown = 2,
}

impl Evidence {
    /// The evidence of this number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Survey,
            2 => Self::Outgrown,
            _ => Self::Glance,
        }
    }

    /// After a branch was opened at a site in this state.
    pub fn after_promotion(self, state: State) -> Self {
        if self == Self::Survey && state != State::Learning { Self::Outgrown } else { self }
    }
}

/// Decides on a site.
///
/// `seen` are the targets that fit into the record, in any order, `others` the calls with targets that did not.
/// The targets are sorted in place: the stack that this runs on may be small.
pub fn decide(seen: &mut [Seen], others: u32) -> Decision {
    let total = seen.iter().map(|target| u64::from(target.calls)).sum::<u64>() + u64::from(others);
    if total == 0 {
        return Decision::Wait;
    }
    let mut ways = [0; WAYS];
    let mut count = 0;
    let mut gained = 0;
    seen.sort_unstable_by_key(|target| core::cmp::Reverse(target.calls));
    for target in seen.iter() {
        let calls = u64::from(target.calls);
        if target.reachable && !target.placed && calls * WORTH >= total - gained {
            ways[count] = target.way;
            count += 1;
            gained += calls;
        }
    }
    if count > 0 && gained * 4 >= total {
        return Decision::Promote { ways, count };
    }
    // Calls with a placed target miss only in the moments after it was placed.
    let placed: u64 = seen.iter().filter(|target| target.placed).map(|target| u64::from(target.calls)).sum();
    if placed * 2 > total {
        return Decision::Wait;
    }
    let far: u64 = seen.iter().filter(|target| !target.reachable).map(|target| u64::from(target.calls)).sum();
    Decision::Quiet { because: if far * 2 > total { Refusal::OutOfReach } else { Refusal::None } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the runtime calls it, with a copy.
    fn decide(seen: &[Seen], others: u32) -> Decision {
        super::decide(&mut seen.to_vec(), others)
    }

    fn seen(way: u8, calls: u32) -> Seen {
        Seen { way, calls, placed: false, reachable: true }
    }

    fn promoted(decision: Decision) -> std::vec::Vec<u8> {
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
        assert_eq!(promoted(decide(&[seen(0, 30), seen(1, 64), seen(2, 1)], 30)), [1, 0]);
    }

    #[test]
    fn too_many_targets_are_megamorphic() {
        let many: std::vec::Vec<Seen> = (0..WAYS as u8).map(|way| seen(way, 5)).collect();
        assert_eq!(decide(&many, 1000), Decision::Quiet { because: Refusal::None });
    }

    #[test]
    fn far_targets_are_named_as_the_reason() {
        let far = Seen { reachable: false, ..seen(0, 64) };
        assert_eq!(decide(&[far], 0), Decision::Quiet { because: Refusal::OutOfReach });
        assert_eq!(promoted(decide(&[far, seen(1, 60)], 0)), [1]);
    }

    #[test]
    fn a_crowd_of_equal_targets_is_not_compared_with() {
        let crowd = |calls| -> std::vec::Vec<Seen> { (0..WAYS as u8).map(|way| seen(way, calls)).collect() };
        assert_eq!(promoted(decide(&crowd(10), 0)).len(), WAYS);
        // As many again found no way free.
        assert_eq!(decide(&crowd(10), 160), Decision::Quiet { because: Refusal::None });
    }

    #[test]
    fn rests_double_only_when_they_follow_each_other_closely() {
        let mut pace = Pace::default();
        assert_eq!(pace.rest(1), REST);
        assert_eq!((pace.rest(2), pace.rest(3)), (REST << 1, REST << 2));
        assert_eq!(pace.rest(3 + LONG_AGO), REST);
        for now in 10..100 {
            assert!(pace.rest(LONG_AGO + now) > 0);
        }
        assert_eq!(pace.rest(LONG_AGO + 100), REST << LONGEST_REST);
    }

    #[test]
    fn late_calls_of_a_placed_target_change_nothing() {
        assert_eq!(decide(&[Seen { placed: true, ..seen(0, 64) }], 3), Decision::Wait);
        assert_eq!(decide(&[], 0), Decision::Wait);
    }
}
