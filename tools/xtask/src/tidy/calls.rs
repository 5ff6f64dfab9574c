//! Calls and imports that have one place, or none.
//!
//! Paths are looked for in the tokens, so that what stands inside a macro is seen too; imports are spelled out first,
//! so that `use tokio::time::{sleep, Duration}` hides nothing.

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::Visit;

use super::source::{Source, is_for_tests};
use crate::Finding;

struct Ban {
    module: &'static str,
    names: &'static [&'static str],
    rule: &'static str,
    advice: &'static str,
    is_banned: fn(&Source, usize) -> bool,
}

const BANS: &[Ban] = &[
    Ban {
        module: "process",
        names: &["exit", "abort"],
        rule: "call",
        advice: "return an error: only services/usp ends the process",
        is_banned: |source, _| is_inside(source),
    },
    Ban {
        module: "env",
        names: &["var", "var_os", "vars", "vars_os", "set_var", "remove_var"],
        rule: "call",
        advice: "take the value from the configuration: only services/usp reads the environment",
        // Tests ask the environment how they are run.
        is_banned: |source, line| is_inside(source) && !source.is_test_line(line),
    },
    Ban {
        module: "thread",
        names: &["sleep"],
        rule: "sleep",
        advice: "wait for the fact (channel, notify, manual clock): sleeping for order makes tests slow and shaky",
        is_banned: Source::is_test_line,
    },
    Ban {
        module: "time",
        names: &["sleep", "sleep_until"],
        rule: "sleep",
        advice: "wait for the fact (channel, notify, manual clock): sleeping for order makes tests slow and shaky",
        is_banned: Source::is_test_line,
    },
];

/// Neither the binary nor a tool.
fn is_inside(source: &Source) -> bool {
    source.package_dir() != "services/usp" && !source.path.starts_with("tools/")
}

pub(super) fn banned(source: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    scan(source, source.tokens.clone(), &mut found);
    let mut imports = Imports { source, is_in_tests: source.is_test, found: Vec::new() };
    imports.visit_file(&source.syntax);
    found.extend(imports.found);
    found
}

fn look_up(source: &Source, module: &str, name: &str, line: usize) -> Option<Finding> {
    let ban = BANS.iter().find(|ban| ban.module == module && ban.names.contains(&name))?;
    (ban.is_banned)(source, line).then(|| {
        Finding::new(&source.path, line, ban.rule, format!("no `{module}::{name}` here; {}", ban.advice))
    })
}

/// Walks all tokens for `module::name` and `#[ignore]`.
fn scan(source: &Source, tokens: TokenStream, found: &mut Vec<Finding>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    for window in tokens.windows(4) {
        if let [TokenTree::Ident(module), TokenTree::Punct(a), TokenTree::Punct(b), TokenTree::Ident(name)] =
            window
            && a.as_char() == ':'
            && b.as_char() == ':'
        {
            let line = name.span().start().line;
            found.extend(look_up(source, &module.to_string(), &name.to_string(), line));
        }
    }
    for window in tokens.windows(2) {
        if let [TokenTree::Punct(mark), TokenTree::Group(group)] = window
            && mark.as_char() == '#'
            && matches!(group.stream().into_iter().next(), Some(TokenTree::Ident(name)) if name == "ignore")
        {
            let line = mark.span().start().line;
            found.push(Finding::new(&source.path, line, "ignore", "run this test always, or delete it"));
        }
    }
    for token in tokens {
        if let TokenTree::Group(group) = token {
            scan(source, group.stream(), found);
        }
    }
}

/// Follows imports, and knows whether it stands in a module for tests.
struct Imports<'a> {
    source: &'a Source,
    is_in_tests: bool,
    found: Vec<Finding>,
}

impl Imports<'_> {
    fn follow(&mut self, parents: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                parents.push(path.ident.to_string());
                self.follow(parents, &path.tree);
                parents.pop();
            }
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.follow(parents, tree)),
            syn::UseTree::Name(name) => self.leaf(parents, &name.ident),
            syn::UseTree::Rename(rename) => self.leaf(parents, &rename.ident),
            syn::UseTree::Glob(glob) => {
                // Tests see all of the module they test, and of a test library what it means to be seen at once.
                let is_usual = match parents.as_slice() {
                    [parent] => parent == "super",
                    [.., last] => last == "prelude",
                    [] => false,
                };
                if !(is_usual && self.is_in_tests) {
                    let line = glob.span().start().line;
                    self.found.push(Finding::new(&self.source.path, line, "glob", "name what is imported"));
                }
            }
        }
    }

    fn leaf(&mut self, parents: &[String], name: &syn::Ident) {
        if let Some(module) = parents.last() {
            let line = name.span().start().line;
            self.found.extend(look_up(self.source, module, &name.to_string(), line));
        }
    }
}

impl<'ast> Visit<'ast> for Imports<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let outside = self.is_in_tests;
        self.is_in_tests |= is_for_tests(&module.attrs);
        syn::visit::visit_item_mod(self, module);
        self.is_in_tests = outside;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.follow(&mut Vec::new(), &item.tree);
    }
}
