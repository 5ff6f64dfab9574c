//! What a check of the store finds.

words! {
    /// Of what sort a finding is.
    pub enum FindingKind {
        /// The catalogue's file is damaged, or its rows contradict its own rules.
        Catalog = "catalog",
        /// A content that cannot be read whole.
        Content = "content",
        /// A chunk that has no sound frame where its row says.
        Chunk = "chunk",
        /// A pack that is absent, too short, or cannot say what it holds.
        Pack = "pack",
        /// Damage in a pack that was set aside, where nothing that is needed stands any more.
        Remains = "remains",
        /// A content that nobody owns. It takes space and harms nobody.
        Orphan = "orphan",
        /// A sum that differs from what it counts. `--repair` mends it.
        Sum = "sum",
        /// A file among the packs that is none of the store's.
        Stray = "stray",
    }
}

impl FindingKind {
    /// Whether bytes that were acknowledged may be unreadable.
    pub fn is_grave(self) -> bool {
        match self {
            Self::Catalog | Self::Content | Self::Chunk | Self::Pack => true,
            Self::Remains | Self::Orphan | Self::Sum | Self::Stray => false,
        }
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// A sentence for people.
    pub text: String,
}

impl Finding {
    pub fn new(kind: FindingKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}
