//! Columns by name: one list makes the text of a statement and the number of each column in it.

/// Makes a module with a constant for each column, its number, and `SELECT`, the statement that reads them all; a
/// condition follows. Without `from` it has `LIST`, what a statement selects.
///
/// ```ignore
/// columns! {
///     mod user from "users" { NAME = "name", DISABLED = "disabled" }
/// }
/// conn.one(&format!("{} WHERE name = ?1", user::SELECT), [name], |row| row.get(user::DISABLED));
/// ```
macro_rules! columns {
    (mod $name:ident { $($column:ident = $sql:literal),+ $(,)? }) => {
        pub(in crate::sqlite) mod $name {
            pub(in crate::sqlite) const LIST: &str = $crate::sqlite::columns::columns!(@list $($sql),+);
            $crate::sqlite::columns::columns!(@number 0usize; $($column)+);
        }
    };
    (mod $name:ident from $from:literal { $($column:ident = $sql:literal),+ $(,)? }) => {
        mod $name {
            pub(super) const SELECT: &str =
                concat!("SELECT ", $crate::sqlite::columns::columns!(@list $($sql),+), " FROM ", $from, " ");
            $crate::sqlite::columns::columns!(@number 0usize; $($column)+);
        }
    };
    (@list $first:literal $(, $rest:literal)*) => { concat!($first $(, ", ", $rest)*) };
    (@number $index:expr; $first:ident $($rest:ident)*) => {
        pub(in crate::sqlite) const $first: usize = $index;
        $crate::sqlite::columns::columns!(@number $index + 1; $($rest)*);
    };
    (@number $index:expr;) => {};
}

pub(in crate::sqlite) use columns;
