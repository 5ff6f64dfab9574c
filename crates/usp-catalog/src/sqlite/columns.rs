//! Columns by name: the order in which a statement selects them and their places in its rows are one list.

/// Makes an enum of columns, each with its text in the statement; `as usize` it is its place in the rows.
macro_rules! columns {
    ($(#[$meta:meta])* $name:ident { $($(#[$cmeta:meta])* $column:ident = $sql:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub(in crate::sqlite) enum $name { $($(#[$cmeta])* $column,)+ }

        impl $name {
            /// What a statement selects.
            pub(in crate::sqlite) fn list() -> String {
                [$($sql),+].join(", ")
            }
        }
    };
}
