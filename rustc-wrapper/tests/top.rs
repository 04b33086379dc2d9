//! relpoline top.

mod common;

use common::{CLANG, Files, REAL_CLANG, RELPOLINE};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

/// Calls through three sites: one that always goes to the same function, one that goes to two, one that goes to more
/// than anybody would compare with. It does so for every line that it is sent, and answers. The last never runs.
const PROGRAM: &str = r#"
#include <stdio.h>
#define FUNCTION(n) static int f##n(int x) { return x + n; }
#define TEN(X, n) X(n##0) X(n##1) X(n##2) X(n##3) X(n##4) X(n##5) X(n##6) X(n##7) X(n##8) X(n##9)
#define ALL(X) TEN(X, 1) TEN(X, 2) TEN(X, 3) TEN(X, 4) TEN(X, 5) TEN(X, 6) TEN(X, 7) TEN(X, 8)
#define NAME(n) f##n,
ALL(FUNCTION)
int (*volatile functions[])(int) = {ALL(NAME)};
#define SITE(name, targets) \
    __attribute__((noinline)) int name(int x) { return functions[x % targets](x) + 1; }
SITE(always, 1)
SITE(in_turn, 2)
SITE(too_many, 80)
SITE(never, 1)
int main(int argc, char **argv) {
    char line[80];
    unsigned sum = 0;
    if (argc > 5) sum += never(argc);
    while (fgets(line, sizeof line, stdin)) {
        for (int i = 0; i < 100000; i++) sum += always(i) + in_turn(i) + too_many(i);
        puts("done");
        fflush(stdout);
    }
    return sum == 0;
}
"#;

/// A running program that does its work each time it is told to.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output) }
    }

    fn work(&mut self) {
        self.input.as_mut().unwrap().write_all(b"go\n").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "done\n");
    }

    fn end(mut self) {
        self.input = None;
        self.output.read_to_string(&mut String::new()).unwrap();
        assert!(self.child.wait().unwrap().success());
    }

    /// A look at it.
    fn look(&self, files: &Files) -> Value {
        files.run(RELPOLINE, &format!("top --json -n 1 {}", self.child.id())).in_silence().json()
    }
}

/// State, calls and targets of every site, by caller: what a look and the program's own statistics agree on.
fn sites(report: &Value) -> Vec<String> {
    let sites = report["sites"].as_array().unwrap().iter();
    let mut sites: Vec<String> = sites
        .map(|site| {
            let keys = ["function", "state", "calls", "address", "object", "line", "file", "targets"];
            keys.map(|key| site[key].to_string()).join(" ")
        })
        .collect();
    sites.sort();
    sites
}

#[test]
fn a_look_agrees_with_the_statistics_of_the_program() {
    let files = Files::new(&[("a.c", PROGRAM)]);
    for options in
        ["-pie -fPIE", "-no-pie -fno-pie", "-static-pie -fPIE", "-fuse-ld=lld -Wl,-z,noseparate-code"]
    {
        files.run(CLANG, &format!("-O2 -g {options} a.c -o a")).in_silence();
        let mut command = common::command(files.path("a"));
        command.env("RELPOLINE_OPTIONS", format!("stats={}", files.path("stats.json").display()));
        let mut program = Program::start(command);
        program.work();
        let look = program.look(&files);
        program.end();
        let stats: Value = serde_json::from_slice(&fs::read(files.path("stats.json")).unwrap()).unwrap();
        assert_eq!(sites(&look), sites(&stats), "{options}");
        let states = ["monomorphic", "polymorphic", "megamorphic", "learning", "off"];
        assert_eq!(look["sites_in_all"], stats["totals"]["sites"]);
        for state in states {
            assert_eq!(look["states"][state], stats["totals"][state], "{options}: {state}");
        }
        let state = |name: &str| {
            let site =
                look["sites"].as_array().unwrap().iter().find(|site| site["function"] == name).unwrap();
            site["state"].as_str().unwrap().to_owned()
        };
        assert_eq!(["always", "in_turn"].map(state), ["monomorphic", "polymorphic"]);
    }
}

#[test]
fn looks_follow_the_process() {
    let files = Files::new(&[("a.c", PROGRAM)]);
    files.run(CLANG, "-O2 -g a.c -o a").in_silence();
    let mut program = Program::start(common::command(files.path("a")));
    let pid = program.child.id();
    // The file may be replaced while the process runs.
    fs::rename(files.path("a"), files.path("b")).unwrap();
    fs::write(files.path("a"), "something else").unwrap();
    let mut looks = common::command(RELPOLINE);
    looks.args(["top", "--json", "--delay", "0.01", &pid.to_string()]).stdout(Stdio::piped());
    let mut looks = looks.spawn().unwrap();
    let mut lines = BufReader::new(looks.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    let first = next();
    assert_eq!((&first["seconds"], &first["sites_in_all"]), (&0.0.into(), &4.into()));
    assert_eq!(first["sites"].as_array().unwrap().len(), 0, "{first}");
    // Until a look sees calls on the slow path.
    program.work();
    let rate = |look: &Value| {
        let sites = look["sites"].as_array().unwrap().iter();
        sites.filter_map(|site| site["slow_calls_per_second"].as_f64()).sum::<f64>()
    };
    let busy = std::iter::repeat_with(&mut next).find(|look| rate(look) > 0.0).unwrap();
    assert_eq!(busy["sites"].as_array().unwrap().len(), 3, "{busy}");
    // Until one sees none any more.
    assert!(std::iter::repeat_with(&mut next).any(|look| rate(&look) == 0.0));
    program.end();
    assert!(lines.all(|line| line.is_ok()));
    assert!(looks.wait().unwrap().success(), "the process has ended, and so does what looks at it");
}

#[test]
fn shared_objects_take_part_as_they_come() {
    let program = r#"
#include <dlfcn.h>
#include <stdio.h>
int main(void) {
    char line[80];
    while (fgets(line, sizeof line, stdin)) {
        void *plugin = dlopen("./plugin.so", RTLD_NOW);
        int (*work)(void) = (int (*)(void))dlsym(plugin, "work");
        if (!work || work() != 300000) return 1;
        puts("done");
        fflush(stdout);
    }
}
"#;
    let plugin = "
static int three(void) { return 3; }
int (*volatile function)(void) = three;
int work(void) {
    int sum = 0;
    for (int i = 0; i < 100000; i++) sum += function();
    return sum;
}
";
    let files = Files::new(&[("a.c", program), ("plugin.c", plugin)]);
    files.run(CLANG, "-O2 a.c -o a").in_silence();
    files.run(CLANG, "-O2 -shared -fPIC plugin.c -o plugin.so").in_silence();
    let mut command = common::command(files.path("a"));
    command.current_dir(files.path("."));
    let mut program = Program::start(command);
    program.work();
    let look = program.look(&files);
    let site = look["sites"].as_array().unwrap().iter().find(|site| site["function"] == "work");
    let site = site.unwrap_or_else(|| panic!("{look}"));
    assert!(site["object"].as_str().unwrap().ends_with("/plugin.so"), "{look}");
    assert_eq!((&site["state"], &site["targets"][0]["function"]), (&"monomorphic".into(), &"three".into()));
    assert_eq!(look["objects"], 2);
    program.end();
}

#[test]
fn people_see_who_calls_whom() {
    let files = Files::new(&[("a.c", PROGRAM)]);
    files.run(CLANG, "-O2 -g a.c -o a").in_silence();
    let mut program = Program::start(common::command(files.path("a")));
    program.work();
    let page = files.run(RELPOLINE, &format!("top --count 1 {}", program.child.id())).in_silence().stdout;
    for expected in [
        "4 sites in 1 object, 3 have run: ",
        "1 monomorphic, 1 polymorphic",
        "always a.c:11 -> f10",
        "in_turn a.c:12 -> ",
    ] {
        assert!(page.contains(expected), "'{expected}' is not in {page}");
    }
    let one =
        files.run(RELPOLINE, &format!("top -n 2 -d 0.01 --lines 1 {}", program.child.id())).in_silence();
    assert_eq!(one.stdout.matches(" a.c:").count(), 2, "{one:?}");
    assert!(one.stdout.contains("\n0 calls a second on the slow path"), "{one:?}");
    program.end();
}

#[test]
fn only_a_page_that_follows_another_clears_the_screen() {
    let files = Files::new(&[("a.c", PROGRAM)]);
    files.run(CLANG, "-O2 a.c -o a").in_silence();
    let mut program = Program::start(common::command(files.path("a")));
    program.work();
    for (looks, terminal, clears) in [(1, "xterm", 0), (2, "xterm", 2), (2, "dumb", 0)] {
        // A terminal of its own.
        let mut script = common::command("script");
        let line = format!("{RELPOLINE} top -d 0.01 -n {looks} {}", program.child.id());
        script.args(["-qec", &line, "/dev/null"]).env("TERM", terminal).stdin(Stdio::null());
        let page = files.run_with(script, "").succeeds().stdout;
        let found = (page.matches("4 sites in 1 object").count(), page.matches('\x1b').count() / 2);
        assert_eq!(found, (looks, clears), "{terminal}: {page:?}");
    }
    program.end();
}

#[test]
fn says_what_it_cannot_look_at() {
    let files = Files::new(&[("a.c", PROGRAM)]);
    files.run(REAL_CLANG, "-O2 a.c -o a").in_silence();
    let mut program = Program::start(common::command(files.path("a")));
    program.work();
    let pid = program.child.id();
    let outcome = files.run(RELPOLINE, &format!("top {pid}"));
    outcome.fails_with(2, &["(a) runs no code with relpolines (expected", "build it with relpoline-clang"]);
    // Somebody who may not read the memory of other users' processes.
    fs::set_permissions(files.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(RELPOLINE, files.path("relpoline")).unwrap();
    let mut stranger = common::command(files.path("relpoline"));
    stranger.uid(65534).gid(65534);
    files.run_with(stranger, &format!("top {pid}")).fails_with(2, &["permission denied", "as root"]);
    program.end();
    files.run(RELPOLINE, &format!("top {pid}")).fails_with(2, &["there is no process"]);
    for wrong in ["top 0", "top -d 0 1", "top -n 0 1", "top --delay soon 1"] {
        assert_eq!(files.run(RELPOLINE, wrong).status, 2, "{wrong}");
    }
}

#[test]
fn ends_when_nobody_reads_any_more() {
    let files = Files::new(&[("a.c", PROGRAM)]);
    files.run(CLANG, "-O2 a.c -o a").in_silence();
    let mut program = Program::start(common::command(files.path("a")));
    program.work();
    for json in ["--json", ""] {
        let line = format!("{RELPOLINE} top --delay 0.01 {json} {}", program.child.id());
        // What reads one line ends; what writes to it must, too.
        let reads = files.script("reads", &format!("{{ {line}; echo $? >status; }} | head -n 1"));
        assert!(!files.run(reads, "").in_silence().stdout.is_empty(), "{line}");
        assert_eq!(fs::read_to_string(files.path("status")).unwrap(), "0\n", "{line}");
        for nobody in [">&-", ">/dev/null"] {
            let closed = files.script("closed", &format!("exec {line} {nobody}"));
            files.run(closed, "").fails_with(2, &["standard output is closed, or /dev/null", "--count"]);
        }
        files.run(files.script("twice", &format!("exec {line} -n 2 >/dev/null")), "").in_silence();
    }
    program.end();
}
