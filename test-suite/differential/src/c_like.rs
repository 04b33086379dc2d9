//! Programs in C and C++ that call through pointers with every class of argument and result.

use crate::random::Random;
use std::fmt::{self, Write};

/// How often each site calls: enough to be decided, to miss, and to be decided again.
const ROUNDS: usize = 4000;

/// Types that both languages pass by value; `prelude.h` makes and folds them.
const VALUES: [&str; 26] = [
    "schar", "half", "int", "u64", "float", "double", "extended", "text", "i128", "int4", "double2",
    "float2", "Odd", "Small", "Mixed", "MixedToo", "Floats", "Pair", "Memory", "Large", "Extended", "Vector",
    "Packed", "Aligned", "Bits", "Either",
];

const ONLY_IN_C: [&str; 1] = ["complex_"];

const ONLY_IN_CXX: [&str; 2] = ["Empty", "Owner"];

/// Types that the default promotions of variadic arguments leave alone.
const VARIADIC: [&str; 12] = [
    "int", "u64", "double", "extended", "text", "i128", "int4", "Small", "Mixed", "Floats", "Memory", "Large",
];

/// How many ways `pick` of `prelude.h` knows.
const PICKS: usize = 5;

/// The program of this seed.
pub fn generate(seed: u64, cxx: bool) -> String {
    let mut text = include_str!("prelude.h").to_owned();
    if cxx {
        text = format!("#include <functional>\n#include <memory>\n{text}");
    }
    let mut generator = Generator { random: Random::new(seed), cxx, text, sites: Vec::new() };
    generator.program().expect("a String takes everything");
    generator.text
}

struct Generator {
    random: Random,
    cxx: bool,
    text: String,
    /// Names of functions with a site each, `u64 (unsigned round, u64 hash)`.
    sites: Vec<String>,
}

/// What functions take and give that can be called from the same site.
struct Family {
    result: &'static str,
    parameters: Vec<&'static str>,
    /// Types of the variadic arguments.
    rest: Vec<&'static str>,
    leaves: bool,
}

impl Family {
    fn declared_parameters(&self) -> String {
        let mut all = vec!["u64 hash".to_owned()];
        all.extend(self.parameters.iter().enumerate().map(|(at, of)| format!("{of} p{at}")));
        if !self.rest.is_empty() {
            all.push("u64 last, ...".into());
        }
        all.join(", ")
    }

    /// Arguments made of `hash`.
    fn made_arguments(&self) -> String {
        let made = |(at, of): (usize, &&str)| format!("make_{of}(mix(hash, {at}))");
        let mut all = vec!["hash".to_owned()];
        all.extend(self.parameters.iter().enumerate().map(made));
        if !self.rest.is_empty() {
            all.push("5".into());
            all.extend(self.rest.iter().enumerate().map(|(at, of)| made((at + 20, of))));
        }
        all.join(", ")
    }

    /// The parameters, passed on.
    fn own_arguments(&self) -> String {
        (0..self.parameters.len()).fold("hash".to_owned(), |all, at| format!("{all}, p{at}"))
    }
}

impl Generator {
    fn program(&mut self) -> fmt::Result {
        writeln!(self.text, "u64 copies, written;\njmp_buf *back;")?;
        for family in 0..6 + self.random.below(6) {
            self.family(family)?;
        }
        if self.cxx {
            for classes in 0..3 {
                self.classes(classes)?;
            }
            self.closures()?;
        }
        writeln!(self.text, "int main(void) {{\n    u64 hash = 1;")?;
        writeln!(self.text, "    for (unsigned round = 0; round < {ROUNDS}; round++) {{")?;
        for site in &self.sites {
            writeln!(self.text, "        hash = mix({site}(round, hash), written ^ copies);")?;
        }
        writeln!(
            self.text,
            "        if (round % 500 == 499) printf(\"%llx\\n\", (unsigned long long)hash);"
        )?;
        writeln!(self.text, "    }}\n    return 0;\n}}")
    }

    fn value(&mut self) -> &'static str {
        let more: &[&str] = if self.cxx { &ONLY_IN_CXX } else { &ONLY_IN_C };
        let at = self.random.below(VALUES.len() + more.len());
        VALUES.get(at).or_else(|| more.get(at - VALUES.len())).expect("an index below the sum")
    }

    fn some_family(&mut self) -> Family {
        let result = if self.random.below(6) == 0 { "void" } else { self.value() };
        let parameters = (0..self.random.below(9)).map(|_| self.value()).collect();
        let rest = if self.random.below(4) == 0 { 1 + self.random.below(9) } else { 0 };
        let rest = (0..rest).map(|_| self.random.one(&VARIADIC)).collect();
        Family { result, parameters, rest, leaves: self.random.below(3) == 0 }
    }

    /// A body that folds all parameters into the result.
    fn body(&mut self, family: &Family) -> fmt::Result {
        writeln!(self.text, " {{\n    hash = mix(hash, {}u);", self.random.number() >> 33)?;
        for (at, of) in family.parameters.iter().enumerate() {
            writeln!(self.text, "    hash = mix(hash, fold_{of}(p{at}));")?;
        }
        if !family.rest.is_empty() {
            writeln!(self.text, "    va_list rest;\n    va_start(rest, last);\n    hash = mix(hash, last);")?;
            for of in &family.rest {
                writeln!(self.text, "    hash = mix(hash, fold_{of}(va_arg(rest, {of})));")?;
            }
            writeln!(self.text, "    va_end(rest);")?;
        }
        if family.leaves && self.cxx {
            writeln!(self.text, "    if (hash % 5 == 0) throw Thrown{{hash}};")?;
        } else if family.leaves {
            writeln!(self.text, "    if (hash % 5 == 0) {{ written = hash; longjmp(*back, 1); }}")?;
        }
        match family.result {
            "void" => writeln!(self.text, "    written = hash;\n}}"),
            result => writeln!(self.text, "    return make_{result}(hash);\n}}"),
        }
    }

    /// A function whose one site calls `callee`, an expression with `round` in it.
    fn site(&mut self, family: &Family, callee: &str) -> fmt::Result {
        let name = format!("site{}", self.sites.len());
        let call = format!("{callee}({})", family.made_arguments());
        let call = match family.result {
            "void" => format!("{call}; hash = mix(hash, written);"),
            _ if self.random.below(8) == 0 => format!("(void){call};"),
            result => format!("hash = mix(hash, fold_{result}({call}));"),
        };
        writeln!(self.text, "static NOINLINE u64 {name}(unsigned round, u64 hash) {{")?;
        if family.leaves && self.cxx {
            writeln!(self.text, "    try {{\n        Owner guard(hash);\n        {call}")?;
            writeln!(
                self.text,
                "    }} catch (const Thrown &thrown) {{\n        hash = mix(hash, thrown.a);\n    }}"
            )?;
        } else if family.leaves {
            writeln!(self.text, "    jmp_buf here;\n    back = &here;")?;
            writeln!(self.text, "    if (setjmp(here)) return written;\n    {call}")?;
        } else {
            writeln!(self.text, "    {call}")?;
        }
        writeln!(self.text, "    return hash;\n}}")?;
        self.sites.push(name);
        Ok(())
    }

    /// Functions of one family in a table, and sites that call them.
    fn family(&mut self, number: usize) -> fmt::Result {
        let family = self.some_family();
        let parameters = family.declared_parameters();
        let count = 1 + self.random.below(10);
        for target in 0..count {
            write!(self.text, "static {} f{number}_{target}({parameters})", family.result)?;
            self.body(&family)?;
        }
        let names: Vec<_> = (0..count).map(|target| format!("f{number}_{target}")).collect();
        writeln!(
            self.text,
            "{} (*table{number}[])({parameters}) = {{{}}};",
            family.result,
            names.join(", ")
        )?;
        for _ in 0..1 + self.random.below(3) {
            let pick = format!("pick({}, round, {count})", self.random.below(PICKS));
            self.site(&family, &format!("table{number}[{pick}]"))?;
        }
        if family.rest.is_empty() {
            // A call that may be made as a jump.
            writeln!(
                self.text,
                "unsigned round{number};\nstatic NOINLINE {} tail{number}({parameters}) {{",
                family.result
            )?;
            let callee =
                format!("table{number}[pick({}, round{number}++, {count})]", self.random.below(PICKS));
            writeln!(self.text, "    return {callee}({});\n}}", family.own_arguments())?;
            self.site(&family, &format!("tail{number}"))?;
        }
        Ok(())
    }

    /// Classes with a virtual function that are derived in every way, and sites that call it.
    fn classes(&mut self, number: usize) -> fmt::Result {
        let family = self.some_family();
        let parameters = family.declared_parameters();
        let result = family.result;
        writeln!(
            self.text,
            "struct Base{number} {{\n    u64 state = 3;\n    virtual {result} work({parameters}) = 0;\n    \
             virtual Base{number} *self() {{ return this; }}\n    virtual ~Base{number}() {{ copies = mix(copies, state); }}\n}};\n\
             struct Beside{number} {{\n    u64 beside = 4;\n    virtual u64 other(u64 a) {{ return a + beside; }}\n    \
             virtual ~Beside{number}() {{ copies++; }}\n}};"
        )?;
        let count = 2 + self.random.below(6);
        for class in 0..count {
            let bases =
                self.random.one(&["Base#", "Beside#, Base#", "virtual Base#", "Beside#, virtual Base#"]);
            let bases = bases.replace('#', &number.to_string());
            let name = format!("Derived{number}_{class}");
            writeln!(self.text, "struct {name} : {bases} {{")?;
            writeln!(self.text, "    {name} *self() override {{ state++; return this; }}")?;
            writeln!(self.text, "    ~{name}() override {{ copies = mix(copies, {class}); }}")?;
            write!(self.text, "    {result} work({parameters}) override")?;
            self.body(&family)?;
            writeln!(self.text, "}};")?;
        }
        let made: Vec<_> = (0..count).map(|class| format!("new Derived{number}_{class}")).collect();
        writeln!(self.text, "Base{number} *objects{number}[] = {{{}}};", made.join(", "))?;
        writeln!(self.text, "{result} (Base{number}::*member{number})({parameters}) = &Base{number}::work;")?;
        let object = |pick: usize| format!("objects{number}[pick({pick}, round, {count})]");
        for _ in 0..2 {
            let object = object(self.random.below(PICKS));
            self.site(&family, &format!("{object}->work"))?;
            self.site(&family, &format!("{object}->self()->work"))?;
            self.site(&family, &format!("({object}->*member{number})"))?;
        }
        // Made and ended through the base.
        let cases: Vec<_> =
            (0..count).map(|class| format!("case {class}: return new Derived{number}_{class};")).collect();
        writeln!(
            self.text,
            "static Base{number} *make{number}(unsigned which) {{ switch (which) {{ {} }} return nullptr; }}",
            cases.join(" ")
        )?;
        let pick = self.random.below(PICKS);
        let made = format!("std::unique_ptr<Base{number}>(make{number}(pick({pick}, round, {count})))");
        self.site(&family, &format!("{made}->work"))
    }

    /// `std::function`s with captures of several sizes.
    fn closures(&mut self) -> fmt::Result {
        let family = Family { rest: Vec::new(), ..self.some_family() };
        let count = 1 + self.random.below(6);
        let parameters = family.declared_parameters();
        for lambda in 0..count {
            let capture = self.value();
            write!(
                self.text,
                "static auto lambda{lambda} = [captured = make_{capture}({})]({parameters}) -> {} {{\n\
                 hash = mix(hash, fold_{capture}(captured));",
                self.random.number() >> 33,
                family.result
            )?;
            self.body(&family)?;
            writeln!(self.text, "}};")?;
        }
        let types = family.parameters.iter().fold("u64".to_owned(), |all, of| format!("{all}, {of}"));
        let names: Vec<_> = (0..count).map(|lambda| format!("lambda{lambda}")).collect();
        writeln!(
            self.text,
            "std::function<{}({types})> closures[] = {{{}}};",
            family.result,
            names.join(", ")
        )?;
        for _ in 0..2 {
            let pick = self.random.below(PICKS);
            self.site(&family, &format!("closures[pick({pick}, round, {count})]"))?;
        }
        Ok(())
    }
}
