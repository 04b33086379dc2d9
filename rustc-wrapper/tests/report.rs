//! relpoline report.

mod common;

use common::{CLANG, Files, RELPOLINE};

const TEMPLATE: &str = r#"
#include <cstdio>
template <typename T> __attribute__((noinline)) T call(T (*function)(T), T x) { return function(x) + 1; }
static int twice(int x) { return 2 * x; }
static int thrice(int x) { return 3 * x; }
static int (*volatile functions[2])(int) = {twice, thrice};
int main() {
    int sum = 0;
    for (int i = 0; i < 10000; i++) sum += call(functions[i % 2], i);
    std::printf("%d\n", sum);
}
"#;

#[test]
fn statistics_become_a_page() {
    let files = Files::new(&[("a.cpp", TEMPLATE)]);
    files.run(format!("{CLANG}++"), "-O2 -g a.cpp -o a").in_silence();
    let mut run = common::command(files.path("a"));
    run.env("RELPOLINE_OPTIONS", "stats=stats.json");
    files.run_with(run, "").in_silence();
    let page = files.run(RELPOLINE, "report stats.json").in_silence().stdout;
    assert!(page.starts_with("<!DOCTYPE html>") && page.matches("<svg").count() == 3, "{page}");
    // Demangled, and escaped.
    for expected in ["call&lt;int&gt;(", "a.cpp:3", "polymorphic", "twice", "thrice"] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    files.run(RELPOLINE, "report stats.json -o page.html").in_silence();
    assert_eq!(std::fs::read_to_string(files.path("page.html")).unwrap(), page);
}

#[test]
fn what_is_no_statistics_is_refused() {
    let files = Files::new(&[
        ("text", "dear diary"),
        ("new", r#"{"version":2,"sites":[]}"#),
        ("half", r#"{"version":1,"pid":1,"mode":"on","totals":{}}"#),
    ]);
    for (name, parts) in [
        ("nothing", ["cannot read nothing", "No such file"]),
        ("text", ["text holds no statistics; run a program with RELPOLINE_OPTIONS=stats=FILE to", "line 1"]),
        ("new", ["new holds statistics of version 2, expected 1", "use the 'relpoline'"]),
        ("half", ["half holds no statistics", "missing field"]),
    ] {
        files.run(RELPOLINE, &format!("report {name}")).fails_with(2, &parts);
    }
    files
        .run(RELPOLINE, "report /dev/zero")
        .fails_with(2, &["cannot read /dev/zero", "neither a regular file nor"]);
    files.write("empty", EMPTY);
    let pipe = files.script("pipe", "(sleep 0.1; cat empty) | $1 report /dev/stdin");
    let page = files.run(pipe, RELPOLINE).in_silence().stdout;
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    files.run("mkfifo", "fifo").in_silence();
    files.run(RELPOLINE, "report fifo").fails_with(2, &["cannot read fifo", "nobody writes to it"]);
    files.run(RELPOLINE, "report empty").in_silence();
}

/// Of a program none of whose sites has run.
const EMPTY: &str = r#"{"version":1,"pid":1,"mode":"on","totals":{"sites":0,"executed":0,"monomorphic":0,"polymorphic":0,
"megamorphic":0,"learning":0,"off":0,"patches":0,"relearns":0,"failures":0},"sites":[]}"#;
