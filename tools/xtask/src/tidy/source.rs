//! One Rust file, parsed once for all rules.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::Visit;

/// A parsed file. Lines count from 1.
pub(crate) struct Source {
    /// Relative to the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) syntax: syn::File,
    pub(crate) tokens: TokenStream,
    /// The whole file serves tests only: it lies in `tests/` or `benches/`, or stands behind `#[cfg(test)] mod …;`.
    pub(crate) is_test: bool,
    code_lines: BTreeSet<usize>,
    test_ranges: Vec<RangeInclusive<usize>>,
    /// Modules that this file declares for tests only and whose text stands in files of their own.
    test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn parse(path: String, text: &str) -> syn::Result<Self> {
        let syntax = syn::parse_file(text)?;
        let tokens: TokenStream = text.parse().map_err(syn::Error::from)?;
        let mut tests = TestParts::default();
        tests.visit_file(&syntax);
        let is_test = path.split('/').any(|part| part == "tests" || part == "benches");
        let code_lines =
            (1..).zip(text.lines()).filter(|(_, line)| is_code(line)).map(|(line, _)| line).collect();
        Ok(Self {
            path,
            syntax,
            tokens,
            is_test,
            code_lines,
            test_ranges: tests.ranges,
            test_modules: tests.modules,
        })
    }

    /// `services/usp` of `services/usp/src/main.rs`.
    pub(crate) fn package_dir(&self) -> &str {
        match self.path.match_indices('/').nth(1) {
            Some((end, _)) => self.path.get(..end).unwrap_or(&self.path),
            None => &self.path,
        }
    }

    /// Whether a line is only compiled for tests.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.test_ranges.iter().any(|range| range.contains(&line))
    }

    /// Lines that hold more than blanks and comments.
    pub(crate) fn code_line_count(&self, lines: RangeInclusive<usize>) -> usize {
        self.code_lines.range(lines).count()
    }

    /// Lines of code that ship.
    pub(crate) fn shipped_line_count(&self) -> usize {
        self.code_lines.iter().filter(|line| !self.is_test_line(**line)).count()
    }

    /// Where the files of a module declared in this one stand: `a/b` for `mod b;` in `a.rs`, `a/lib.rs`.
    fn module_stem(&self, module: &str) -> String {
        let (dir, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        match file.trim_end_matches(".rs") {
            "lib" | "main" => format!("{dir}/{module}"),
            stem => format!("{dir}/{stem}/{module}"),
        }
    }
}

/// Marks the files that stand behind `#[cfg(test)] mod …;` of another file, and all below them.
pub(crate) fn mark_test_files(sources: &mut [Source]) {
    let stems: Vec<String> = sources
        .iter()
        .flat_map(|source| source.test_modules.iter().map(|name| source.module_stem(name)))
        .collect();
    for source in sources {
        source.is_test |= stems.iter().any(|stem| {
            source.path.strip_prefix(stem.as_str()).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
        });
    }
}

fn is_code(line: &str) -> bool {
    let line = line.trim_start();
    !(line.is_empty() || line.starts_with("//"))
}

/// Whether an item exists only in test builds: `#[cfg(test)]`, `#[cfg(all(test, …))]`, `#[test]`, `#[tokio::test]`.
pub(crate) fn is_for_tests(attrs: &[syn::Attribute]) -> bool {
    attrs.iter().any(|attr| match &attr.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => asks_for_test(list.tokens.clone()),
        meta => meta.path().segments.last().is_some_and(|segment| segment.ident == "test"),
    })
}

fn asks_for_test(tokens: TokenStream) -> bool {
    let mut negated = false;
    for token in tokens {
        match token {
            TokenTree::Ident(ident) if ident == "test" => return true,
            TokenTree::Ident(ident) => negated = ident == "not",
            TokenTree::Group(group) if !negated && asks_for_test(group.stream()) => return true,
            _ => {}
        }
    }
    false
}

#[derive(Default)]
struct TestParts {
    ranges: Vec<RangeInclusive<usize>>,
    modules: Vec<String>,
}

impl<'ast> Visit<'ast> for TestParts {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attrs: &[syn::Attribute] = match item {
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            syn::Item::Struct(item) => &item.attrs,
            syn::Item::Const(item) => &item.attrs,
            syn::Item::Macro(item) => &item.attrs,
            _ => &[],
        };
        if is_for_tests(attrs) {
            let span = item.span();
            self.ranges.push(span.start().line..=span.end().line);
            if let syn::Item::Mod(module) = item
                && module.content.is_none()
            {
                self.modules.push(module.ident.to_string());
            }
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, method: &'ast syn::ImplItemFn) {
        if is_for_tests(&method.attrs) {
            let span = method.span();
            self.ranges.push(span.start().line..=span.end().line);
        }
        syn::visit::visit_impl_item_fn(self, method);
    }
}
