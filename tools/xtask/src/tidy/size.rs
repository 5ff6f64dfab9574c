//! How long a file and a function may be. Blank lines and comments are free.

use syn::spanned::Spanned;
use syn::visit::Visit;

use super::source::Source;
use crate::Finding;

/// The target is 300; past this a file has more than one subject.
const FILE_LINE_COUNT_MAX: usize = 600;
/// One screen.
const FN_LINE_COUNT_MAX: usize = 70;

pub(super) fn file_and_functions(source: &Source) -> Vec<Finding> {
    let mut functions = Functions { source, found: Vec::new() };
    functions.visit_file(&source.syntax);
    let mut found = functions.found;
    let line_count = source.shipped_line_count();
    if line_count > FILE_LINE_COUNT_MAX {
        let advice = format!(
            "split this file: {line_count} lines of code without tests, {FILE_LINE_COUNT_MAX} at most"
        );
        found.push(Finding::new(&source.path, 1, "file-size", advice));
    }
    found
}

struct Functions<'a> {
    source: &'a Source,
    found: Vec<Finding>,
}

impl Functions<'_> {
    fn measure(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let first = signature.span().start().line;
        let line_count = self.source.code_line_count(first..=block.span().end().line);
        if line_count > FN_LINE_COUNT_MAX {
            let name = &signature.ident;
            let advice = format!("split `{name}`: {line_count} lines of code, {FN_LINE_COUNT_MAX} at most");
            self.found.push(Finding::new(&self.source.path, first, "fn-size", advice));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.measure(&function.sig, &function.block);
        syn::visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, method: &'ast syn::ImplItemFn) {
        self.measure(&method.sig, &method.block);
        syn::visit::visit_impl_item_fn(self, method);
    }

    fn visit_trait_item_fn(&mut self, method: &'ast syn::TraitItemFn) {
        if let Some(block) = &method.default {
            self.measure(&method.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, method);
    }
}
