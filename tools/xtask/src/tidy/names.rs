//! The words of the house: one per idea, and none that says nothing.

use syn::visit::Visit;

use super::source::Source;
use crate::Finding;

/// Whole words of CamelCase type names that name no idea of ours.
const TYPE_WORDS_REFUSED: &[&str] =
    &["Manager", "Helper", "Helpers", "Util", "Utils", "Utility", "Info", "Data", "Blob", "Object", "Misc"];
/// What S3 itself calls things is right in the S3 dialect.
const S3_WORDS: &[&str] = &["Object", "Blob"];

pub(super) fn types(source: &Source) -> Vec<Finding> {
    let mut types = Types { source, found: Vec::new() };
    types.visit_file(&source.syntax);
    types.found
}

struct Types<'a> {
    source: &'a Source,
    found: Vec<Finding>,
}

impl Types<'_> {
    fn judge(&mut self, name: &syn::Ident) {
        let text = name.to_string();
        let words = camel_words(&text);
        let is_s3 = words.first() == Some(&"S3") || self.source.path.contains("s3");
        let refused = words
            .iter()
            .find(|word| TYPE_WORDS_REFUSED.contains(word) && !(is_s3 && S3_WORDS.contains(word)));
        if let Some(word) = refused {
            let advice =
                format!("rename `{text}`: \"{word}\" does not say what it is (style.md, vocabulary)");
            self.found.push(Finding::new(&self.source.path, name.span().start().line, "word", advice));
        }
    }
}

impl<'ast> Visit<'ast> for Types<'_> {
    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.judge(&item.ident);
        syn::visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.judge(&item.ident);
        syn::visit::visit_item_enum(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.judge(&item.ident);
        syn::visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.judge(&item.ident);
        syn::visit::visit_item_type(self, item);
    }
}

/// `S3PutObject` → `S3`, `Put`, `Object`.
fn camel_words(name: &str) -> Vec<&str> {
    let mut starts: Vec<usize> =
        name.char_indices().filter(|(_, c)| c.is_uppercase()).map(|(at, _)| at).collect();
    starts.push(name.len());
    starts.windows(2).filter_map(|pair| name.get(*pair.first()?..*pair.last()?)).collect()
}
