//! The C programs of the micro benchmarks. Callers and callees are translation units of their own, so that
//! nothing is inlined and no target is known where it is called.

use std::fmt::Write;

/// Call sites of one function of the many-sites program. Functions as long as all sites together would
/// measure the compiler's patience.
const SITES_A_FUNCTION: usize = 64;

/// Source files: name and text.
pub type Sources = Vec<(String, String)>;

/// How the many-sites program calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// By name.
    Direct,
    /// Through a table of pointers.
    Indirect,
}

/// A program with `sites` call sites, every one with a target of its own.
pub fn sites(sites: usize, calls: Calls) -> Sources {
    let mut callers = String::from("#include \"targets.h\"\n");
    let functions = sites.div_ceil(SITES_A_FUNCTION);
    for function in 0..functions {
        _ = writeln!(
            callers,
            "\n__attribute__((noinline)) static unsigned long part_{function}(unsigned long x) {{"
        );
        for site in function * SITES_A_FUNCTION..sites.min((function + 1) * SITES_A_FUNCTION) {
            _ = match calls {
                Calls::Direct => writeln!(callers, "    x = target_{site}(x);"),
                Calls::Indirect => writeln!(callers, "    x = table[{site}](x);"),
            };
        }
        // The addition keeps the last call from becoming a tail call.
        callers += "    return x + 1;\n}\n";
    }
    callers += "\nunsigned long run(unsigned long x, unsigned long calls) {\n";
    _ = writeln!(callers, "    for (unsigned long done = 0; done < calls; done += {sites}) {{");
    for function in 0..functions {
        _ = writeln!(callers, "        x = part_{function}(x);");
    }
    callers += "    }\n    return x;\n}\n";
    with_targets(sites, ("callers.c".into(), callers))
}

/// In which order the one-site program calls its targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// One after the other.
    RoundRobin,
    /// Every target as likely.
    Random,
    /// Nine of ten calls go to the first target, the others to any of the rest.
    Skewed,
    /// Each target for [`PHASE`] calls, then the next: by the time that a target has been learned it is over.
    Phases,
}

impl Order {
    /// Name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RoundRobin => "round robin",
            Self::Random => "random",
            Self::Skewed => "90 % one target",
            Self::Phases => "in phases",
        }
    }

    /// Argument of the generated program.
    pub const fn argument(self) -> &'static str {
        match self {
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::Skewed => "skewed",
            Self::Phases => "phases",
        }
    }
}

/// Targets of the one-site program.
const MOST_TARGETS: usize = 64;

/// Calls with one target before [`Order::Phases`] changes it: the worst for a learner that asks for a thousand
/// misses before it promotes another target.
const PHASE: usize = 2048;

/// A program with one call site and up to [`MOST_TARGETS`]; how many, and their order, are arguments.
pub fn targets(calls: Calls) -> Sources {
    let call = match calls {
        Calls::Direct => "target_0(x)",
        Calls::Indirect => "table[order[done % LENGTH]](x)",
    };
    let callers = format!(
        r#"#include "targets.h"

enum {{ LENGTH = {MOST_TARGETS} * {PHASE} }};
static unsigned char order[LENGTH];

// A generator of its own, so that every build calls in the same order.
static unsigned next_random(void) {{
    static unsigned long state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 32;
}}

void prepare(int targets, const char *name) {{
    for (int i = 0; i < LENGTH; i++) {{
        if (targets == 1)
            order[i] = 0;
        else if (name[0] == 'p')
            order[i] = i / {PHASE} % targets;
        else if (name[0] == 's')
            order[i] = next_random() % 10 ? 0 : 1 + next_random() % (targets - 1);
        else if (name[1] == 'a')
            order[i] = next_random() % targets;
        else
            order[i] = i % targets;
    }}
}}

unsigned long run(unsigned long x, unsigned long calls) {{
    for (unsigned long done = 0; done < calls; done++)
        x = {call};
    return x;
}}
"#
    );
    with_targets(MOST_TARGETS, ("callers.c".into(), callers))
}

/// Adds the targets, and a `main` that warms up and prints nanoseconds a call, one line a batch; without arguments it
/// prints what memory it has.
fn with_targets(count: usize, callers: (String, String)) -> Sources {
    let mut header = String::from("typedef unsigned long target(unsigned long);\n");
    _ = writeln!(header, "extern target *table[{count}];");
    let mut targets = String::from("#include \"targets.h\"\n");
    let mut table = String::new();
    for number in 0..count {
        _ = writeln!(header, "target target_{number};");
        _ = writeln!(
            targets,
            "unsigned long target_{number}(unsigned long x) {{ return x + {}; }}",
            number + 1
        );
        _ = write!(table, "{}target_{number},", if number % 8 == 0 { "\n    " } else { " " });
    }
    _ = writeln!(targets, "target *table[{count}] = {{{table}\n}};");
    let main = r#"#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

unsigned long run(unsigned long x, unsigned long calls);
__attribute__((weak)) void prepare(int targets, const char *name);

static double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

// Prints /proc/self/smaps as it is when main begins.
static int print_memory(void) {
    char text[1024];
    int file = open("/proc/self/smaps", O_RDONLY);
    long length;
    while ((length = read(file, text, sizeof text)) > 0)
        if (write(1, text, length) != length)
            return 1;
    return length < 0;
}

// Arguments: calls to warm up, calls in a batch, batches, targets, order.
int main(int argc, char **argv) {
    if (argc == 1)
        return print_memory();
    if (argc != 6)
        return 2;
    unsigned long calls = strtoul(argv[2], NULL, 10), x = 0;
    if (prepare)
        prepare(atoi(argv[4]), argv[5]);
    x = run(x, strtoul(argv[1], NULL, 10));
    for (int batch = atoi(argv[3]); batch > 0; batch--) {
        double start = seconds();
        x = run(x, calls);
        printf("%.4f\n", (seconds() - start) / calls * 1e9);
    }
    printf("%lu\n", x);
}
"#;
    vec![callers, ("targets.h".into(), header), ("targets.c".into(), targets), ("main.c".into(), main.into())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_calls_its_own_target_once() {
        let sources = sites(130, Calls::Indirect);
        let (_, callers) = &sources[0];
        assert_eq!(callers.matches("table[").count(), 130);
        assert_eq!(callers.matches("table[129](x)").count(), 1);
        assert_eq!(callers.matches("x = part_").count(), 3);
        assert_eq!(sources[2].1.matches("return x +").count(), 130);
    }
}
